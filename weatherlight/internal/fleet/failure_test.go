package fleet

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestInstancesAreNotTakenForDeadBecauseTheBusWasAway(t *testing.T) {
	for name, outage := range map[string]func(*fakeLease, *Fleet){
		"a renewal failed": func(held *fakeLease, f *Fleet) {
			held.err = errors.New("bus unavailable")
			_ = f.Renew(context.Background()) // It fails: that is the outage.
			held.err = nil
		},
		"a renewal is overdue": func(*fakeLease, *Fleet) { time.Sleep(TTL) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				held := &fakeLease{}
				var dead []string
				f := testFleetWith(held, func(name string, _ time.Duration) { dead = append(dead, name) })
				see := func(members map[string]metadata) {
					t.Helper()
					held.roll = rollOf(t, "a", members)
					if err := f.Renew(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				see(map[string]metadata{"a": {}, "alive": {}, "dead": {}})
				outage(held, f)
				see(map[string]metadata{"a": {}})
				for range TTL / leaderRenewal {
					if len(dead) != 0 {
						t.Fatalf("dead: %v, though nobody could renew a lease", dead)
					}
					time.Sleep(leaderRenewal)
					see(map[string]metadata{"a": {}, "alive": {}})
				}
				if want := []string{"dead"}; !slices.Equal(dead, want) {
					t.Errorf("dead: %v, want %v", dead, want)
				}
			})
		})
	}
}
