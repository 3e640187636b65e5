package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestHandMadeRequestIsAnsweredWithTheRightKernel(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	kernels := w.kernels()
	checksums := map[string]string{}
	for id, kernel := range kernels {
		got := w.ask("right-"+id, id, patience)
		if got.kind != typeReady || got.checksum != kernel.Checksum || got.blueprintID != id {
			t.Errorf("answer for %s is %+v, the library lists %+v", id, got, kernel)
		}
		if sum := fileChecksum(t, got.artifactRef); sum != kernel.Checksum {
			t.Errorf("%s at %s has checksum %s, the answer says %s", id, got.artifactRef, sum, kernel.Checksum)
		}
		// A trainer has another working directory than the service.
		if !filepath.IsAbs(got.artifactRef) {
			t.Errorf("artifact_ref %q of %s is not absolute", got.artifactRef, id)
		}
		if twin, taken := checksums[kernel.Checksum]; taken {
			t.Errorf("%s and %s have the same checksum %s", id, twin, kernel.Checksum)
		}
		checksums[kernel.Checksum] = id
	}
	if len(checksums) < 10 {
		t.Errorf("%d distinct kernels, want at least 10", len(checksums))
	}
}

func fileChecksum(t testing.TB, path string) string {
	t.Helper()
	sum := sha256.Sum256(fileContent(t, path))
	return hex.EncodeToString(sum[:])
}

// fileContent is empty when the file cannot be read, which is an error.
func fileContent(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("artifact: %v", err)
	}
	return content
}

func TestRequestForAMissingBlueprintIsAnsweredAsMissing(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.boot()
	got := w.ask("no-such", missing, patience)
	if got.kind != typeError || got.cause != "missing_artifact" || got.blueprintID != missing {
		t.Errorf("answer is %+v, want the error missing_artifact", got)
	}
}

// TestReplayedRequestIsRefusedAlsoAfterARestart sends one entry again and
// again, as a peer would that recorded it.
func TestReplayedRequestIsRefusedAlsoAfterARestart(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	payload := envelope(typeRequest, kernelRequest("once", compiled, "run-e2e", time.Now()))
	entry := addCommand(streamRequests, payload, sign(secret, payload))
	again := func() {
		t.Helper()
		id, _ := w.bus.do(entry...).(string)
		letter := w.refused(streamRequests, id, "replay")
		if letter["payload"] != string(payload) || letter["signature"] != sign(secret, payload) {
			t.Errorf("the dead letter does not hold the entry: %v", letter)
		}
	}
	counted := func(want float64) {
		t.Helper()
		eventually(t, "the replays are counted on /metrics", patience, func() bool {
			return w.metric(refusedSeries("replay", streamRequests)) == want
		})
	}

	w.bus.do(entry...)
	first := w.await("once", patience)
	again()
	counted(1)

	// The same request dated anew is the same request.
	id := w.request("once", compiled)
	w.refused(streamRequests, id, "replay")
	counted(2)

	w.stop()
	w.boot()
	again()
	counted(1)

	w.process.kill()
	w.boot()
	again()

	fresh := w.ask("fresh", compiled, patience)
	if fresh.checksum != first.checksum || first.kind != typeReady {
		t.Errorf("answers %+v and %+v differ", first, fresh)
	}
	if n := len(w.answers()["once"]); n != 1 {
		t.Errorf("the request was answered %d times", n)
	}
}
