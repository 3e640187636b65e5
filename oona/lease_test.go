package oona_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/signing"
)

func leaseClient(t *testing.T, url, name string) *oona.Client {
	t.Helper()
	ring, err := signing.NewKeyring("test-secret")
	if err != nil {
		t.Fatal(err)
	}
	c, err := oona.Connect(context.Background(), oona.Config{URL: url, Group: "g", Consumer: name, Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func renew(t *testing.T, l *lease.Lease, note string) lease.Roll {
	t.Helper()
	roll, err := l.Renew(context.Background(), []byte(note))
	if err != nil {
		t.Fatal(err)
	}
	return roll
}

// onBothBuses runs a test on a Redis and on the embedded broker.
func onBothBuses(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("redis", func(t *testing.T) { test(t, redistest.Start(t).URL) })
	t.Run("broker", func(t *testing.T) {
		b, err := embedded.Start(embedded.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		test(t, b.URL())
	})
}

func TestOneLeadsAndAnotherTakesOver(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		// Longer than a machine holds anything up, but for a life that is to end unheard.
		const ttl, last = time.Minute, 100 * time.Millisecond
		a := leaseClient(t, url, "a")
		first := a.NewLease(lease.Config{Owner: "one", TTL: ttl})
		second := leaseClient(t, url, "b").NewLease(lease.Config{Owner: "two", TTL: ttl})
		roll := renew(t, first, "i am a")
		if roll.Token == 0 || roll.Leader != "a" {
			t.Fatalf("the first does not lead: %+v", roll)
		}
		if again := renew(t, first, "i am a"); again.Token != roll.Token {
			t.Errorf("the token went from %d to %d without a change", roll.Token, again.Token)
		}
		other := renew(t, second, "i am b")
		if other.Token != 0 || other.Leader != "a" || len(other.Members) != 2 || string(other.Members[0].Note) != "i am a" {
			t.Errorf("the second sees %+v", other)
		}
		first = a.NewLease(lease.Config{Owner: "one", TTL: last})
		roll = renew(t, first, "i am a for the last time")
		waitFor(t, "another takes over", func() bool {
			other = renew(t, second, "i am b")
			return other.Token != 0
		})
		if other.Token <= roll.Token || len(other.Members) != 1 {
			t.Fatalf("the second has %+v", other)
		}
		if held, err := first.Confirm(context.Background(), roll.Token); held || err != nil {
			t.Errorf("the first still holds its lead: %v, %v", held, err)
		}
		if held, err := second.Confirm(context.Background(), other.Token); !held || err != nil {
			t.Errorf("the second does not hold its lead: %v, %v", held, err)
		}
		if err := second.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
		if back := renew(t, first, ""); back.Token <= other.Token {
			t.Errorf("released, but the first has %+v", back)
		}
	})
}

func TestNameBelongsToOneOwner(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		c := leaseClient(t, url, "same")
		first := c.NewLease(lease.Config{Owner: "one", TTL: time.Minute})
		before := renew(t, first, "")
		_, err := c.NewLease(lease.Config{Owner: "two"}).Renew(context.Background(), nil)
		if !errors.Is(err, lease.ErrNameTaken) {
			t.Errorf("a second owner of the name got %v", err)
		}
		// The next life of the first one does not have to wait for the old lease.
		if next := renew(t, c.NewLease(lease.Config{Owner: "one", TTL: time.Minute}), ""); next.Token <= before.Token {
			t.Errorf("the next life has %+v", next)
		}
		if held, err := first.Confirm(context.Background(), before.Token); held || err != nil {
			t.Errorf("the old life still leads: %v, %v", held, err)
		}
	})
}

func TestTokensGrowThoughTheBusForgets(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	held := leaseClient(t, server.URL, "a").NewLease(lease.Config{})
	before := renew(t, held, "")
	server.Restart()
	deadline := time.Now().Add(10 * time.Second)
	for {
		roll, err := held.Renew(context.Background(), nil)
		if err == nil {
			if roll.Token <= before.Token {
				t.Errorf("token %d after %d", roll.Token, before.Token)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestGroupsOfTheDepartedAreRemoved(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		ctx := context.Background()
		c := leaseClient(t, url, "a")
		stream := oona.DefaultStreams().KernelReady
		for _, group := range []string{"g.dead", "g.live", "other"} {
			if err := c.EnsureGroups(ctx, group, stream); err != nil {
				t.Fatal(err)
			}
		}
		gone := func(group string) bool { return group != "g.live" }
		removed, err := c.Admin().PruneGroups(ctx, "g.", gone, time.Minute, time.Hour, stream, "no-such-stream")
		if err != nil || len(removed) != 1 || removed[0] != stream+" g.dead" {
			t.Errorf("removed %v, %v", removed, err)
		}
		if err := c.Admin().RemoveGroup(ctx, "g.live", stream, "no-such-stream"); err != nil {
			t.Error(err)
		}
	})
}

// The clock of the bus is set while nobody renews, or while all do. A lease ends
// when its time is over, and not when the clock says so.
func TestR32LeasesEndInTimeThoughTheClockIsSet(t *testing.T) {
	t.Parallel()
	const ttl = 400 * time.Millisecond
	for _, step := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			clock := redistest.NewClock(t)
			clock.Set(-step)
			server := redistest.StartWith(t, clock)
			first := leaseClient(t, server.URL, "a").NewLease(lease.Config{Owner: "one", TTL: ttl})
			second := leaseClient(t, server.URL, "b").NewLease(lease.Config{Owner: "two", TTL: ttl})
			before := renew(t, first, "")
			if before.Token == 0 {
				t.Fatalf("the first does not lead: %+v", before)
			}
			clock.Set(0)
			// The first is dead from here on.
			waitFor(t, "another leads", func() bool { return renew(t, second, "").Token > before.Token })
			if alone := renew(t, second, ""); len(alone.Members) != 1 {
				t.Errorf("the dead one is still there: %+v", alone)
			}
			if back := renew(t, first, ""); back.Token != 0 || len(back.Members) != 2 {
				t.Errorf("the first comes back as %+v", back)
			}
		})
	}
}

// A bus without memory to spare still takes acknowledgements, and instances must keep their
// places to go on with them.
func TestPlacesAreKeptOnAFullBus(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	held := leaseClient(t, server.URL, "a").NewLease(lease.Config{Owner: "one", TTL: time.Minute})
	before := renew(t, held, "")
	tell(t, server, "CONFIG", "SET", "maxmemory", "1")
	if err := answer(t, server, "SET", "key", "value").Error(); err == nil {
		t.Fatal("the bus is not full")
	}
	if after := renew(t, held, "a longer note"); after.Token != before.Token || len(after.Members) != 1 {
		t.Errorf("on a full bus the place is %+v", after)
	}
}

// Who does not get on with the leader neither takes part nor takes the lead
// while that lives.
func TestR36StrangerNeitherJoinsNorLeads(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		badges := func(list ...string) func() []string { return func() []string { return list } }
		member := func(name string, list ...string) *lease.Lease {
			return leaseClient(t, url, name).NewLease(lease.Config{Owner: name, TTL: time.Minute, Badges: badges(list...)})
		}
		leader, stranger := member("a", "red"), member("b", "blue")
		if roll := renew(t, leader, ""); roll.Token == 0 {
			t.Fatalf("the first has %+v", roll)
		}
		if _, err := stranger.Renew(context.Background(), nil); !errors.Is(err, lease.ErrStranger) {
			t.Fatalf("a stranger got %v", err)
		}
		if roll := renew(t, leader, ""); len(roll.Members) != 1 {
			t.Errorf("a stranger is on the roll: %+v", roll)
		}
		second := member("e", "red")
		renew(t, second, "")
		if err := leader.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, err := stranger.Renew(context.Background(), nil); !errors.Is(err, lease.ErrStranger) {
			t.Errorf("with the leader gone a stranger got %v", err)
		}
		if roll := renew(t, leader, ""); roll.Token == 0 {
			t.Errorf("the leader comes back as %+v", roll)
		}
		if err := second.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
		// While badges change, both are known.
		if roll := renew(t, member("c", "blue", "red"), ""); roll.Token != 0 || len(roll.Members) != 2 {
			t.Errorf("who knows both sees %+v", roll)
		}
		if roll := renew(t, leaseClient(t, url, "d").NewLease(lease.Config{Owner: "d"}), ""); len(roll.Members) != 3 {
			t.Errorf("who shows none sees %+v", roll)
		}
		// Another life of the leader may have another.
		if roll := renew(t, member("a", "blue"), ""); roll.Token == 0 {
			t.Errorf("the next life of the leader has %+v", roll)
		}
		if roll := renew(t, stranger, ""); roll.Token != 0 || len(roll.Members) != 4 {
			t.Errorf("who was a stranger sees %+v", roll)
		}
	})
}

// Two processes of one owner, as from a copy of its data folder, would take the lead from
// each other for ever: the last that came has the place for as long as it lives.
func TestProcessWhoseOwnerCameAgainIsDisplaced(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		c := leaseClient(t, url, "same")
		config := lease.Config{Owner: "one", TTL: time.Minute}
		first, second := c.NewLease(config), c.NewLease(config)
		renew(t, first, "")
		for range 2 { // and it does not take its place back
			lead := renew(t, second, "")
			if lead.Token == 0 {
				t.Errorf("the second does not lead: %+v", lead)
			}
			if _, err := first.Renew(context.Background(), nil); !errors.Is(err, lease.ErrDisplaced) {
				t.Errorf("the first got %v", err)
			}
			if held, err := second.Confirm(context.Background(), lead.Token); !held || err != nil {
				t.Errorf("the second lost its lead: %v, %v", held, err)
			}
		}
		if err := first.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
		if third := renew(t, second, ""); third.Token == 0 || len(third.Members) != 1 {
			t.Errorf("after the first left the second has %+v", third)
		}
		if err := second.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
		if back := renew(t, first, ""); back.Token == 0 {
			t.Errorf("nobody has the place, and the first got %+v", back)
		}
	})
}

func TestWhatALeaderProclaimsOutlivesIt(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		a, b := leaseClient(t, url, "a"), leaseClient(t, url, "b")
		first := a.NewLease(lease.Config{Owner: "one", TTL: time.Minute})
		second := b.NewLease(lease.Config{Owner: "two", TTL: time.Minute})
		proclaim := func(by *lease.Lease, token int64, text string, want bool) {
			t.Helper()
			if said, err := by.Proclaim(t.Context(), token, []byte(text)); said != want || err != nil {
				t.Errorf("%s was said: %v, %v", text, said, err)
			}
		}
		lead := renew(t, first, "")
		if lead.Proclaimed != nil {
			t.Errorf("nobody has spoken, and %q is heard", lead.Proclaimed)
		}
		other := renew(t, second, "")
		proclaim(second, lead.Token, "by one who follows", false)
		proclaim(second, other.Token, "by one who follows", false)
		proclaim(first, lead.Token-1, "by a leader of before", false)
		proclaim(first, lead.Token, "of old", true)
		proclaim(first, lead.Token, "the word", true)
		if err := first.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		other = renew(t, second, "")
		if string(other.Proclaimed) != "the word" || len(other.Members) != 1 {
			t.Errorf("the heir sees %+v", other)
		}
		proclaim(first, lead.Token, "by a leader of before", false)
		if after := renew(t, first, ""); string(after.Proclaimed) != "the word" {
			t.Errorf("heard %q", after.Proclaimed)
		}
	})
}
