package policy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
)

// What stood in the shadow and was never compared decides only when whoever activates it says that
// he knows.
func TestAPolicyIsComparedBeforeItDecides(t *testing.T) {
	clock, first := &clock{time.Now().Add(-time.Minute)}, networkOf(t, 1, network.Features)
	var heard emitted
	compared, away := map[string]bool{}, errors.New("no bus")
	var failure error
	store := openStore(t, Config{Emit: heard.emit, Compared: func(_ context.Context, version string) (bool, error) {
		return compared[version], failure
	}})
	clock.take(t, store, "v1", first)
	wantRejected(t, clock.act(t, store, journal.ActivateUncompared, first), ReasonNotShadowed)
	for _, row := range []struct {
		action   journal.Action
		compared bool
		says     string
	}{{journal.Activate, true, ""}, {journal.ActivateUncompared, false, "true"}} {
		compared["v1"] = false
		if err := clock.act(t, store, journal.ToShadow, first); err != nil {
			t.Fatal(err)
		}
		wantRejected(t, clock.act(t, store, journal.Activate, first), ReasonNotCompared)
		want(t, store, "", "v1")
		failure = away
		if err := clock.act(t, store, journal.Activate, first); !errors.Is(err, away) {
			t.Errorf("when nobody knows: %v", err)
		}
		failure = nil
		compared["v1"] = row.compared
		if err := clock.act(t, store, row.action, first); err != nil {
			t.Fatal(err)
		}
		want(t, store, "v1", "")
		if event, attributes := heard.last(t); event != "policy_activated" || attributes["uncompared"] != row.says {
			t.Errorf("told as %s %v", event, attributes)
		}
		if err := clock.act(t, store, journal.RollBack, nil); err != nil {
			t.Fatal(err)
		}
	}
}
