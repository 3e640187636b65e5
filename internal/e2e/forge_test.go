package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

const typeCatalogUpdate = 9

// catalogUpdates returns the checksums announced on the bus, by blueprint.
func (w *world) catalogUpdates() map[string]string {
	w.t.Helper()
	announced := map[string]string{}
	for _, e := range w.bus.entries(streamReady) {
		outer := decodeMessage(w.t, []byte(e.fields["payload"]))
		if outer[1].varint == typeCatalogUpdate {
			update := decodeMessage(w.t, outer[2].bytes)
			announced[update.text(1)] = update.text(3)
		}
	}
	return announced
}

// mustBeSound checks that the library holds what the forge can compile, each
// kernel as listed, and that each was announced.
func (w *world) mustBeSound() map[string]listedKernel {
	w.t.Helper()
	kernels := w.kernels()
	if len(kernels) < 10 {
		w.t.Errorf("the library holds %d kernels: %v", len(kernels), slices.Sorted(maps.Keys(kernels)))
	}
	for id, kernel := range kernels {
		if sum := fileChecksum(w.t, kernel.ArtifactRef); sum != kernel.Checksum {
			w.t.Errorf("%s is listed with checksum %s, its file has %s", id, kernel.Checksum, sum)
		}
	}
	return kernels
}

// TestForegroundForgeServesARunningService forges beside a service that does
// not forge by itself.
func TestForegroundForgeServesARunningService(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.environ = append(w.environ, "TEZZERET_FORGE_ON_START=false")
	w.boot()
	if got := w.ask("too early", compiled, patience); got.cause != "missing_artifact" {
		t.Errorf("before the forge the answer is %+v", got)
	}
	run(t, w.folder, w.environ, "esperctl", "forge")
	kernels := w.mustBeSound()
	if got := w.ask("in time", compiled, patience); got.kind != typeReady || got.checksum != kernels[compiled].Checksum {
		t.Errorf("after the forge the answer is %+v, the library lists %+v", got, kernels[compiled])
	}
	announced := w.catalogUpdates()
	for id, kernel := range kernels {
		if announced[id] != kernel.Checksum {
			t.Errorf("%s was announced with checksum %q, the library lists %s", id, announced[id], kernel.Checksum)
		}
	}
}

// TestKillInTheForgeLeavesNoHalfKernel kills the first boots of a folder while
// they compile.
func TestKillInTheForgeLeavesNoHalfKernel(t *testing.T) {
	begin(t)
	w := newWorld(t, redistest.AOF()...)
	for kill := range 4 {
		w.boot()
		wanted := len(w.catalogUpdates()) + rand.IntN(4)
		for len(w.catalogUpdates()) < wanted && w.process.running() && kill < 3 { //nolint:revive // as fast as it can
		}
		w.process.kill()
		t.Logf("kill %d: %d kernels announced", kill, len(w.catalogUpdates()))
	}
	w.bootForged()
	kernels := w.mustBeSound()
	for id, kernel := range kernels {
		if got := w.ask(fmt.Sprintf("whole %s", id), id, patience); got.checksum != kernel.Checksum {
			t.Errorf("answer for %s is %+v, the library lists %+v", id, got, kernel)
		}
	}
	w.stop()
}
