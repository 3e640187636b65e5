package tolaria

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/kernel/adam"
)

// keptSlot is a slot with kept seeds.
type keptSlot struct {
	slot
	ids []string
}

func (s *keptSlot) Seeds() []graft.Seed {
	var seeds []graft.Seed
	for _, id := range s.ids {
		seeds = append(seeds, graft.Seed{ID: id, Stage: stageFossilized})
	}
	return seeds
}

// The optimizer's state of kept seeds goes back with the host, also when it has not
// been taken up since a resume; that of seeds that are gone does not come back.
func TestWholeSnapshotHasTheMomentsOfKeptSeeds(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	place := &keptSlot{ids: []string{"known", "waiting", "gone"}}
	parameters := func() []*kernel.Parameter { return []*kernel.Parameter{kernel.NewParameter("p", kernel.NewTensor(2))} }
	known, gone := parameters(), parameters()
	of := func(steps int) []*adam.Moments {
		return []*adam.Moments{{Steps: steps, First: []float64{1, 2}, Second: []float64{3, 1e-300}}}
	}
	trainer := &Trainer{
		network: newHost(rng, Size{Inputs: 1, Features: 1, Classes: 1}), optimizer: new(adam.Optimizer), slot: place,
		members: map[string][]*kernel.Parameter{"known": known, "gone": gone},
		waiting: map[string][]*adam.Moments{"waiting": of(2)},
	}
	put := func(parameters []*kernel.Parameter, steps int) {
		if err := trainer.optimizer.Put(parameters, of(steps)); err != nil {
			t.Fatal(err)
		}
	}
	put(known, 1)
	put(gone, 3)
	trainer.rate.Rate = 0.5
	host := (*seedHost)(trainer)
	content, err := host.EncodeSnapshot(host.Snapshot("s"))
	if err != nil {
		t.Fatal(err)
	}
	put(known, 7)
	trainer.waiting["waiting"] = of(8)
	trainer.optimizer.Forget(gone)
	delete(trainer.members, "gone")
	place.ids = place.ids[:2]
	back, err := host.DecodeSnapshot(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Restore(back, graft.Whole); err != nil {
		t.Fatal(err)
	}
	got := [][]*adam.Moments{host.momentsOf("known"), trainer.waiting["waiting"], trainer.waiting["gone"]}
	if want := [][]*adam.Moments{of(1), of(2), nil}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

// What the head learnt for a seed is given back only while the host has not trained
// since, before the restart or after it.
func TestTouchedSnapshotOutlastsTheProcess(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before, after int // steps of the host since the snapshot, in both processes
		restored      bool
	}{
		"the host rested":             {0, 0, true},
		"it trained before the stop":  {3, 0, false},
		"it trained after the resume": {0, 2, false},
	} {
		old := &Trainer{
			network: newHost(rand.New(rand.NewPCG(1, 1)), Size{Inputs: 1, Features: 1, Classes: 1}), optimizer: new(adam.Optimizer), slot: &keptSlot{},
		}
		old.rate.Rate, old.hostSteps = 0.5, 5
		snapshot := (*seedHost)(old).Snapshot("s")
		old.hostSteps += test.before
		content, err := (*seedHost)(old).EncodeSnapshot(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		resumed := &Trainer{
			network: newHost(rand.New(rand.NewPCG(2, 2)), Size{Inputs: 1, Features: 1, Classes: 1}), optimizer: new(adam.Optimizer), slot: &keptSlot{},
		}
		resumed.config.TrainBehind = true
		host := (*seedHost)(resumed)
		back, err := host.DecodeSnapshot(content)
		if err != nil {
			t.Fatal(err)
		}
		resumed.hostSteps += test.after
		if err := host.Restore(back, graft.Touched); err != nil {
			t.Fatal(err)
		}
		head := graft.CopyWeights(old.network.Behind())
		if got := head.Same(resumed.network.Behind()); got != test.restored {
			t.Errorf("%s: restored: %v", name, got)
		}
	}
}
