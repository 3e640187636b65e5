package e2e

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/internal/s3test"
	"github.com/esper-lite/weatherlight/kernel"
)

// sharedLibrary is the environment of machines with one catalogue in Postgres and
// one store of artifacts.
func sharedLibrary(t *testing.T) []string {
	t.Helper()
	return []string{
		"URZA_DATABASE_URL=" + pgtest.Start(t).URL(""),
		"URZA_ARTIFACT_URL=" + s3test.Start(t).ArtifactURL("kernels/v1"),
		"URZA_S3_ACCESS_KEY=" + s3test.AccessKey,
		"URZA_S3_SECRET_KEY=" + s3test.SecretKey,
	}
}

// TestTwoMachinesShareOneLibrary: what one service compiled the other serves, and a
// trainer's machine fetches it by the URL of the answer.
func TestTwoMachinesShareOneLibrary(t *testing.T) {
	begin(t)
	first := newWorld(t)
	first.environ = append(first.environ, sharedLibrary(t)...)
	first.bootForged()
	second := first.second()
	second.bootForged()
	if n := second.metric("tezzeret_jobs_total"); n != 0 {
		t.Errorf("the second service compiled %g kernels again", n)
	}
	kernels := second.kernels()
	if len(kernels) < 10 {
		t.Fatalf("the second service lists %d kernels", len(kernels))
	}
	first.stop()
	got := second.ask("from the other machine", compiled, patience)
	if got.kind != typeReady || got.checksum != kernels[compiled].Checksum || !strings.HasPrefix(got.artifactRef, "s3://") {
		t.Fatalf("answer is %+v, the library lists %+v", got, kernels[compiled])
	}
	trainer := t.TempDir()
	run(t, trainer, second.environ, "esperctl", "kernels", "export", compiled, "fetched.onnx")
	if sum := fileChecksum(t, filepath.Join(trainer, "fetched.onnx")); sum != got.checksum {
		t.Errorf("the trainer fetched %s, announced was %s", sum, got.checksum)
	}
	run(t, trainer, second.environ, "esperctl", "kernels", "verify")
	second.stop()
}

func TestWrongKeyOfTheArtifactStoreIsToldAtTheBoot(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, sharedLibrary(t)...)
	w.environ = append(w.environ, "URZA_S3_SECRET_KEY=not-the-secret")
	p := launch(t, w.folder, w.environ, service)
	if code, _ := p.exit(patience); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	said := p.stderr.String()
	mustSay(t, "the service", said, "urza catalogue", "artifact store")
	mustNotSay(t, "the service", said, "not-the-secret")
}

// TestKernelsOfAnImageSlot: a convolution for a layer of maps is compiled, asked for
// over the bus, loaded, run and trained.
func TestKernelsOfAnImageSlot(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "TEZZERET_SLOT=8x6x6")
	w.bootForged()
	for _, blueprint := range []string{"BP013", "BP015", "BP032"} { // grouped, depthwise, dilated
		got := w.ask("maps "+blueprint, blueprint, patience)
		if got.kind != typeReady {
			t.Fatalf("answer for %s is %+v", blueprint, got)
		}
		loaded, err := kernel.Load(fileContent(t, got.artifactRef))
		if err != nil {
			t.Fatal(err)
		}
		if loaded.Checksum() != got.checksum || !slices.Equal(loaded.Input().Shape, []int{-1, 8, 6, 6}) {
			t.Errorf("%s takes %v, has checksum %s", blueprint, loaded.Input().Shape, loaded.Checksum())
		}
		if !slices.Contains(loaded.Operators(), "Conv") {
			t.Errorf("%s is no convolution: %v", blueprint, loaded.Operators())
		}
		mustTrain(t, loaded)
	}
	w.stop()
}

// mustTrain runs a kernel forwards and backwards on two examples.
func mustTrain(t *testing.T, loaded *kernel.Kernel) {
	t.Helper()
	shape := loaded.Input().Shape
	shape[0] = 2
	host := kernel.NewTensor(shape...)
	for i := range host.Data {
		host.Data[i] = float32(math.Sin(float64(i)))
	}
	tape, instance := kernel.NewTape(), loaded.Instantiate()
	seed, err := instance.Forward(tape, tape.Constant(host))
	if err != nil {
		t.Fatal(err)
	}
	loss, err := tape.ReduceMean(seed, false)
	if err == nil {
		err = tape.Backward(loss)
	}
	if err != nil {
		t.Fatal(err)
	}
	trained := 0
	for _, parameter := range instance.Parameters() {
		if slices.ContainsFunc(parameter.Grad.Data, func(g float32) bool { return g != 0 }) {
			trained++
		}
	}
	if !slices.Equal(seed.Shape(), shape) || trained == 0 {
		t.Errorf("output %v, %d parameters with a gradient", seed.Shape(), trained)
	}
}

// TestKilledForegroundForgeGoesOn kills esperctl forge at random moments until it
// comes to its end.
func TestKilledForegroundForgeGoesOn(t *testing.T) {
	begin(t)
	w := newWorld(t)
	kept := map[string]listedKernel{}
	for kill := range 6 {
		p := launch(t, w.folder, w.environ, "esperctl", "forge")
		eventually(t, "the forge shows its progress", patience, func() bool {
			return strings.Contains(p.stdout.String(), "compiling") || !p.running()
		})
		select {
		case <-p.ended:
		case <-time.After(time.Duration(rand.IntN(100*(kill+1))) * time.Millisecond):
		}
		p.kill()
		now := w.kernels()
		for id, kernel := range kept {
			if now[id].Checksum != kernel.Checksum {
				t.Errorf("kill %d: %s is %+v, was %+v", kill, id, now[id], kernel)
			}
		}
		kept = now
	}
	said := run(t, w.folder, w.environ, "esperctl", "forge")
	mustSay(t, "the last forge", said, "present", " 0 failed")
	kernels, announced := w.mustBeSound(), w.catalogUpdates()
	for id, kernel := range kernels {
		if announced[id] != kernel.Checksum {
			t.Errorf("%s was announced with checksum %q, the library lists %s", id, announced[id], kernel.Checksum)
		}
	}
	run(t, w.folder, w.environ, "esperctl", "kernels", "verify")
}
