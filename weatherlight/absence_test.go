package weatherlight

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestInstancesAreNotTakenForDeadBecauseTheBusWasAway(t *testing.T) {
	for name, outage := range map[string]func(*fakeRoster, *fleet){
		"a beat failed": func(roster *fakeRoster, f *fleet) {
			roster.err = errors.New("bus unavailable")
			_ = f.beat(context.Background()) // It fails: that is the outage.
			roster.err = nil
		},
		"a beat is overdue": func(*fakeRoster, *fleet) { time.Sleep(leaseTTL) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				roster := &fakeRoster{}
				f := testFleet(roster)
				var dead []string
				f.departed = func(name string) { dead = append(dead, name) }
				see := func(members map[string]fleetNote) {
					t.Helper()
					roster.roll = rollOf(t, "a", members)
					if err := f.beat(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				see(map[string]fleetNote{"a": {}, "alive": {}, "dead": {}})
				outage(roster, f)
				see(map[string]fleetNote{"a": {}})
				for range leaseTTL / leadBeat {
					if len(dead) != 0 {
						t.Fatalf("dead: %v, though nobody could renew a lease", dead)
					}
					time.Sleep(leadBeat)
					see(map[string]fleetNote{"a": {}, "alive": {}})
				}
				if want := []string{"dead"}; !slices.Equal(dead, want) {
					t.Errorf("dead: %v, want %v", dead, want)
				}
			})
		})
	}
}
