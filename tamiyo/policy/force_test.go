package policy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

func TestPolicyComesIntoForceByTheShadowAndIsRolledBack(t *testing.T) {
	dir, shelf, clock := t.TempDir(), new(shelf), &clock{time.Now().Add(-time.Minute)}
	var heard emitted
	config := Config{Dir: dir, Fetch: shelf.fetch, Share: shelf.share, Emit: heard.emit}
	store := openStore(t, config)
	first, second := networkOf(t, 1, network.Features), networkOf(t, 2, network.Features)
	clock.take(t, store, "v1", first)
	want(t, store, "", "")
	wantRejected(t, clock.act(t, store, journal.Activate, first), ReasonNotShadowed)
	steps := []struct {
		action         journal.Action
		payload        []byte
		event          string
		active, shadow string
	}{
		{journal.ToShadow, first, "policy_shadowed", "", "v1"},
		{journal.Activate, first, "policy_activated", "v1", ""},
		{journal.ToShadow, second, "policy_shadowed", "v1", "v2"},
		{journal.Activate, second, "policy_activated", "v2", ""},
		{journal.RollBack, nil, "policy_rolled_back", "v1", ""},
		{journal.RollBack, nil, "policy_rolled_back", "", ""},
	}
	for i, step := range steps {
		if i == 2 {
			clock.take(t, store, "v2", second)
		}
		if err := clock.act(t, store, step.action, step.payload); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if event, _ := heard.last(t); event != step.event {
			t.Errorf("step %d: told as %s", i, event)
		}
		want(t, store, step.active, step.shadow)
		store = openStore(t, config) // killed between all steps
		want(t, store, step.active, step.shadow)
	}
	wantRejected(t, clock.act(t, store, journal.RollBack, nil), ReasonNothingBefore)
	if active, _ := store.Deciding(); active != nil {
		t.Error("a policy decides")
	}
}

func TestActionsThatAreRefused(t *testing.T) {
	clock := &clock{time.Now().Add(-time.Minute)}
	good, pickle, narrow := networkOf(t, 1, network.Features), []byte("\x80\x04pickle"), networkOf(t, 1, network.Features-1)
	for name, row := range map[string]struct {
		payload    []byte
		attributes map[string]string
		beside     string
		reason     string
	}{
		"a prototype's":      {pickle, journal.ToShadow.Attributes(payloads.Digest(pickle)), "", ReasonUnusable},
		"of another width":   {narrow, journal.ToShadow.Attributes(payloads.Digest(narrow)), "", ReasonUnusable},
		"never taken in":     {good, journal.ToShadow.Attributes(payloads.Digest(pickle)), "", ReasonMissing},
		"no digest":          {good, journal.ToShadow.Attributes(""), "", ReasonMissing},
		"no hex":             {good, journal.ToShadow.Attributes("policy"), "", ReasonMissing},
		"an unknown action":  {good, journal.Action("delete").Attributes(payloads.Digest(good)), "", ReasonInvalid},
		"with a payload":     {good, journal.ToShadow.Attributes(payloads.Digest(good)), "x", ReasonInvalid},
		"nothing to go back": {good, journal.RollBack.Attributes(""), "", ReasonNothingBefore},
	} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t, Config{})
			clock.take(t, store, "v1", row.payload)
			wantRejected(t, store.Accept(t.Context(), update("operator", "", clock.next(), row.beside), row.attributes), row.reason)
			if _, acted := store.Force(); acted {
				t.Error("something came into force")
			}
		})
	}
	store := openStore(t, Config{})
	clock.take(t, store, "v1", good)
	old := update("operator", "", clock.at.Add(-time.Second), "")
	wantRejected(t, store.Accept(t.Context(), old, journal.ToShadow.Attributes(payloads.Digest(good))), ReasonSuperseded)
	figures := store.Figures()
	if len(figures) != 4 {
		t.Errorf("figures %v", figures)
	}
}

func TestAnotherStoreLearnsWhatIsInForce(t *testing.T) {
	shelf, clock := new(shelf), &clock{time.Now().Add(-time.Minute)}
	config := func() Config { return Config{Dir: t.TempDir(), Fetch: shelf.fetch, Share: shelf.share} }
	leader, other := openStore(t, config()), openStore(t, config())
	first := networkOf(t, 1, network.Features)
	clock.take(t, leader, "v1", first)
	for _, action := range []journal.Action{journal.ToShadow, journal.Activate} {
		if err := clock.act(t, leader, action, first); err != nil {
			t.Fatal(err)
		}
	}
	force, _ := leader.Force()
	shelf.away = errors.New("the store is away")
	if err := other.LearnForce(t.Context(), force); !errors.Is(err, shelf.away) {
		t.Errorf("without its payload: %v", err)
	}
	want(t, other, "", "")
	shelf.away = nil
	for range 2 {
		if err := other.LearnForce(t.Context(), force); err != nil {
			t.Fatal(err)
		}
	}
	want(t, other, "v1", "")
	// It leads now, and goes back.
	if err := clock.act(t, other, journal.RollBack, nil); err != nil {
		t.Fatal(err)
	}
	if err := other.LearnForce(t.Context(), force); err != nil { // old news
		t.Fatal(err)
	}
	want(t, other, "", "")
	back, _ := other.Force()
	if err := leader.LearnForce(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	want(t, leader, "", "")
}

func TestNetworksAnswerTheSame(t *testing.T) {
	read, err := network.Read(networkOf(t, 3, network.Features))
	if err != nil {
		t.Fatal(err)
	}
	rows := make([][]float32, 5)
	for i := range rows {
		rows[i] = slices.Repeat([]float32{float32(i)}, network.Features)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			answers, err := read.Judge(t.Context(), rows)
			if err != nil || len(answers) != len(rows) || answers[4][0] != 12 || answers[1][network.Features-1] != 3 {
				t.Errorf("answers %v, %v", answers, err)
			}
		})
	}
	group.Wait()
	if _, err := read.Judge(t.Context(), [][]float32{{1}}); err == nil {
		t.Error("a narrow row is answered")
	}
	if answers, err := read.Judge(t.Context(), nil); err != nil || len(answers) > 0 {
		t.Errorf("nothing: %v, %v", answers, err)
	}
	huge, err := network.Read(networkOf(t, 3e38, network.Features))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := huge.Judge(t.Context(), [][]float32{slices.Repeat([]float32{9}, network.Features)}); err == nil {
		t.Error("an answer that is no number is given")
	}
}

// What was announced as stored can be put in force by whoever leads next.
func TestHeirPutsInForceWhatAnotherStoreTookIn(t *testing.T) {
	shelf, clock := new(shelf), &clock{time.Now().Add(-time.Minute)}
	config := func() Config { return Config{Dir: t.TempDir(), Fetch: shelf.fetch, Share: shelf.share} }
	leader, heir := openStore(t, config()), openStore(t, config())
	first, second, third := networkOf(t, 1, network.Features), networkOf(t, 2, network.Features), networkOf(t, 3, network.Features)
	take := func(at *Store, version string, payload []byte, others ...*Store) {
		t.Helper()
		clock.take(t, at, version, payload)
		told := newestOf(at)
		for _, other := range others {
			if err := other.Learn(journal.Recent{Newest: &told}); err != nil {
				t.Fatal(err)
			}
		}
	}
	take(leader, "v1", first, heir)
	take(leader, "v2", second, heir)
	// The leader is gone.
	for _, step := range []struct {
		payload []byte
		shadow  string
	}{{second, "v2"}, {first, "v1"}} {
		if err := clock.act(t, heir, journal.ToShadow, step.payload); err != nil {
			t.Fatal(err)
		}
		want(t, heir, "", step.shadow)
	}
	take(heir, "v3", third) // of the last two, neither has to be put in force at once
	if err := clock.act(t, heir, journal.ToShadow, second); err != nil {
		t.Error(err)
	}
	shelf.away = errors.New("the store is away")
	err := leader.Accept(t.Context(), update("p", "v4", clock.next(), "payload"), nil)
	if !errors.Is(err, shelf.away) || versionOf(leader) != "v2" {
		t.Errorf("what the others cannot have is announced: %v", err)
	}
}

// What a change is decided on must be there still when it is made.
func TestOneChangeAtATime(t *testing.T) {
	clock := &clock{time.Now().Add(-time.Minute)}
	first := networkOf(t, 1, network.Features)
	var store *Store
	looked := 0
	store = openStore(t, Config{Fetch: func(context.Context, string, int) ([]byte, error) {
		looked++
		if store.changing.TryLock() {
			store.changing.Unlock()
			t.Error("another change may come between")
		}
		return first, nil
	}})
	elsewhere := openStore(t, Config{})
	clock.take(t, elsewhere, "v1", first)
	newest := newestOf(elsewhere)
	if err := store.Learn(journal.Recent{Newest: &newest}); err != nil {
		t.Fatal(err)
	}
	if err := clock.act(t, store, journal.ToShadow, first); err != nil {
		t.Fatal(err)
	}
	other := networkOf(t, 5, network.Features)
	first = other
	clock.take(t, elsewhere, "v2", other)
	if err := clock.act(t, elsewhere, journal.ToShadow, other); err != nil {
		t.Fatal(err)
	}
	force, _ := elsewhere.Force()
	if err := store.LearnForce(t.Context(), force); err != nil {
		t.Fatal(err)
	}
	want(t, store, "", "v2")
	if looked != 2 {
		t.Errorf("fetched %d times", looked)
	}
}

// A policy that cannot be read leaves the other one in force, is not told of as deciding, and comes
// back when it can be read.
func TestOneThatCannotBeReadDoesNotTakeTheOtherAlong(t *testing.T) {
	shelf, clock := new(shelf), &clock{time.Now().Add(-time.Minute)}
	dir := t.TempDir()
	config := Config{Dir: dir, Fetch: shelf.fetch, Share: shelf.share}
	store := openStore(t, config)
	first, second := networkOf(t, 1, network.Features), networkOf(t, 2, network.Features)
	clock.take(t, store, "v1", first)
	for _, action := range []journal.Action{journal.ToShadow, journal.Activate} {
		if err := clock.act(t, store, action, first); err != nil {
			t.Fatal(err)
		}
	}
	clock.take(t, store, "v2", second)
	if err := clock.act(t, store, journal.ToShadow, second); err != nil {
		t.Fatal(err)
	}
	gauges := func() (values []float64) {
		for _, figure := range store.Figures()[2:] {
			for point := range figure.Points() {
				values = append(values, point.Value)
			}
		}
		return values
	}
	for name, row := range map[string]struct {
		lost           []byte
		active, shadow string
		gauges         []float64
	}{
		"the one that decides": {first, "", "v2", []float64{0, 1}},
		"the shadow":           {second, "v1", "", []float64{1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(payloads.Folder(dir), payloads.Digest(row.lost))
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			shelf.away = errors.New("the store is away")
			store = openStore(t, config)
			want(t, store, row.active, row.shadow)
			if got := gauges(); !slices.Equal(got, row.gauges) {
				t.Errorf("told as %v", got)
			}
			if err := store.Complete(t.Context()); !errors.Is(err, shelf.away) {
				t.Errorf("read from nowhere: %v", err)
			}
			shelf.away = nil
			if err := store.Complete(t.Context()); err != nil {
				t.Error(err)
			}
			want(t, store, "v1", "v2")
		})
	}
}

// What decides is known by its version: no two have the same.
func TestEachPolicyHasAVersionOfItsOwn(t *testing.T) {
	const rules = "the-rules"
	for name, row := range map[string]struct {
		version, payload string
		refused          bool
	}{
		"its own":           {"v2", "other", false},
		"sent again":        {"v1", "first", false},
		"of another":        {"v1", "other", true},
		"none":              {"", "other", false}, // it cannot decide: see below
		"blanks":            {" ", "other", true},
		"that of the rules": {rules, "other", true},
		"too long":          {strings.Repeat("v", 129), "other", true},
		"an announcement":   {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			for verified, config := range map[bool]Config{true: {Rules: rules}, false: {}} {
				clock, shelf := &clock{time.Now().Add(-time.Minute)}, new(shelf)
				config.Fetch = shelf.fetch
				store := openStore(t, config)
				clock.take(t, store, "v1", []byte("first"))
				whole, referring := update("p", row.version, clock.next(), row.payload), update("p", row.version, clock.next(), "")
				accepts := func(err error) {
					t.Helper()
					if row.refused && verified {
						wantRejected(t, err, ReasonVersion)
					} else if err != nil {
						t.Error(err)
					}
				}
				accepts(store.Accept(t.Context(), whole, nil))
				if row.payload == "" {
					continue
				}
				if err := shelf.share(t.Context(), []byte(row.payload)); err != nil {
					t.Fatal(err)
				}
				accepts(store.Accept(t.Context(), referring, payloads.ReferTo([]byte(row.payload)).Attributes()))
			}
		})
	}
}

func TestAPolicyWithoutAVersionCannotDecide(t *testing.T) {
	clock, first := &clock{time.Now().Add(-time.Minute)}, networkOf(t, 1, network.Features)
	store := openStore(t, Config{Rules: "the-rules"})
	clock.take(t, store, "", first)
	wantRejected(t, clock.act(t, store, journal.ToShadow, first), ReasonVersion)
	clock.take(t, store, "v1", first)
	if err := clock.act(t, store, journal.ToShadow, first); err != nil {
		t.Error(err)
	}
	want(t, store, "", "v1")
}
