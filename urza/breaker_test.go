package urza

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// A breaker that stays open after the catalogue is back keeps everybody waiting.
func TestR29LookUpsPassOnceTheCatalogueAnswers(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		library := openTest(t, testConfig(t.TempDir()))
		save(t, library, "BP001", "kernel")
		gone, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for library.Stats().Queries.Circuit != leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN {
			if err := library.Ping(gone); err == nil { // as a database that does not answer in time
				t.Fatal("a look that has no time succeeds")
			}
		}
		poll := time.NewTicker(20 * time.Millisecond)
		defer poll.Stop()
		begun := time.Now()
		for library.Ping(t.Context()) != nil {
			if <-poll.C; time.Since(begun) > 10*time.Second {
				t.Fatal("the breaker stays open")
			}
		}
		if state := library.Stats().Queries.Circuit; state != leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED {
			t.Errorf("the catalogue answers, and its breaker is %v", state)
		}
	})
}

// D-U7: a catalogue that was down looked like a missing kernel, and the seed was culled.
func TestCatalogueThatIsDownIsNotAMissingKernel(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, testConfig configFor) {
		cfg := testConfig(t.TempDir())
		cfg.BreakerFailures = 2
		library := openTest(t, cfg)
		prefetcher := NewPrefetcher(library, PrefetchConfig{})
		hot := save(t, library, "BP001", "kernel")
		save(t, library, "BP002", "cold kernel")
		settledFile(t, hot.GetArtifactRef())
		ask(t, prefetcher, "BP001")

		if err := library.catalogue.Close(); err != nil { // the database goes away
			t.Fatal(err)
		}
		for range 4 {
			request := &leyline.KernelPrefetchRequest{RequestId: "r", BlueprintId: "BP002"}
			if answer, _, err := prefetcher.Answer(context.Background(), request, nil); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("answered %v, %v", answer, err)
			}
			if _, err := library.Get(context.Background(), "BP002"); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			if _, err := library.Has(context.Background(), "BP002"); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		m := library.Stats()
		if m.Queries.Circuit != 2 || m.Queries.Opened != 1 || !m.Queries.Conservative ||
			m.Queries.Denied == 0 || m.Memory.Errors == 0 {
			t.Errorf("metrics: %v", m)
		}
		// What is in memory, and whose file is as it was, is still served.
		wantReady(t, ask(t, prefetcher, "BP001"), hot.GetChecksum())
	})
}
