package kasmina

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

func TestAnnouncedKernelIsVerified(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(*world, *leyline.KernelArtifactReady)
		reason string
	}{
		{"flipped bit", func(w *world, _ *leyline.KernelArtifactReady) { w.files["BP001"][40] ^= 1 }, "checksum_mismatch"},
		{"no checksum", func(_ *world, r *leyline.KernelArtifactReady) { r.Checksum = "" }, "checksum_mismatch"},
		{"gone", func(_ *world, r *leyline.KernelArtifactReady) { r.ArtifactRef = "nowhere" }, "artifact_unreadable"},
		{"other blueprint", func(_ *world, r *leyline.KernelArtifactReady) { r.BlueprintId = "BP002" }, "blueprint_mismatch"},
		{"no kernel", func(w *world, r *leyline.KernelArtifactReady) {
			w.files["BP001"] = []byte("a pickle")
			r.Checksum = kernel.Checksum(w.files["BP001"])
		}, "kernel_invalid"},
		{"too wide", func(w *world, r *leyline.KernelArtifactReady) {
			w.files["BP001"] = residualKernel(w.t, testFeatures+1)
			r.Checksum = kernel.Checksum(w.files["BP001"])
		}, "interface checks incomplete"},
		{"too large", func(w *world, r *leyline.KernelArtifactReady) {
			w.files["BP001"] = make([]byte, maxArtifactBytes+1)
			r.Checksum = kernel.Checksum(w.files["BP001"])
		}, "artifact_unreadable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				w.do(opGerminate, "s")
				ready := w.ready(w.lastRequest())
				tt.spoil(w, ready)
				w.answer(ready)
				w.wantStage("s", stageEmbargoed)
				w.wantAttached()
				if told := events(w.emitted(), "gate_failure"); len(told) != 1 ||
					told[0].GetAttributes()["reason"] != tt.reason {
					t.Errorf("events %v", told)
				}
			})
		})
	}
}

func TestDefaultOpenerReadsRegularFilesOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kernel.onnx")
	write(t, path, []byte("bytes"))
	for _, ref := range []string{path, "file://" + path} {
		content, err := readArtifact(t.Context(), openFile, ref)
		if err != nil || string(content) != "bytes" {
			t.Errorf("%s: %q, %v", ref, content, err)
		}
	}
	pipe := path + ".pipe" // that nobody writes to
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{filepath.Dir(path), os.DevNull, pipe, path + ".not"} {
		if _, err := readArtifact(t.Context(), openFile, ref); err == nil {
			t.Errorf("%s was read", ref)
		}
	}
}
