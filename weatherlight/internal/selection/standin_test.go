package selection

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tezzeret"
)

const step = 5 * time.Millisecond

// slowLibrary takes a while for each list but the first, and has found out one thing more each time.
func slowLibrary(takes *time.Duration) *lists {
	var lists atomic.Int64
	return newLists(makers{
		survey: func(context.Context, []int) ([]tezzeret.Candidate, error) { return nil, nil },
		find: func(context.Context, []int, []tezzeret.Candidate) ([]tamiyo.Candidate, error) {
			made := int(lists.Add(1))
			if made > 1 {
				time.Sleep(*takes)
			}
			return []tamiyo.Candidate{{
				BlueprintID: "BP002", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.2, ParameterCount: 100,
				Earned: tamiyo.Earned{Tried: made},
			}}, nil
		},
	})
}

// worthy is a policy that would begin a seed of whatever it is asked about.
func worthy(t *testing.T) func() (active, shadow tamiyo.Policy) {
	t.Helper()
	worth := kernel.NewTensor(network.Features)
	worth.Data[0] = 1
	builder := kernel.NewBuilder("policy", network.Features)
	builder.Init("worth", worth)
	builder.Node("Mul", []string{"host", "worth"}, "seed")
	file, err := builder.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	policy, err := network.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return func() (active, shadow tamiyo.Policy) { return network.Named(policy, "p"), nil }
}

// decided are decisions on four reports of a run whose loss does not fall, each within a step, of which
// the last one may begin a seed.
func decided(t *testing.T, selection *Selection, policies func() (active, shadow tamiyo.Policy), slots map[string][]int) []tamiyo.Decision {
	t.Helper()
	controller := tamiyo.NewController(tamiyo.Config{Patience: 3, Policies: policies})
	var record *tamiyo.Record
	var decisions []tamiyo.Decision
	for number := range uint64(4) {
		ctx, cancel := context.WithTimeout(t.Context(), step)
		decision := controller.Decide(record, tamiyo.State{
			Packet: &leyline.SystemStatePacket{TrainingRunId: "run", CurrentEpoch: uint32(number), ValidationLoss: 1},
			Grows:  true, TrainerID: "t", Number: number + 1, HostLayers: []string{"a"}, Slots: slots,
			Consult: func(p tamiyo.Policy, rows [][]float32) ([][]float32, error) { return p.Judge(ctx, rows) },
		}, time.Now(), func(slot []int) ([]tamiyo.Candidate, error) { return selection.Candidates(ctx, "run", slot) })
		cancel()
		record, decisions = decision.Record, append(decisions, decision)
		time.Sleep(time.Second)
	}
	return decisions
}

// A policy is asked in what the list leaves of the step.
func TestLibrarySlowerThanTheStepLeavesThePolicyItsTime(t *testing.T) {
	policies := worthy(t)
	synctest.Test(t, func(t *testing.T) {
		takes := 4 * step
		selection := &Selection{lists: slowLibrary(&takes)}
		defer selection.Close()
		if _, err := selection.Candidates(t.Context(), "run", []int{32}); err != nil {
			t.Fatal(err)
		}
		for number, decision := range decided(t, selection, policies, map[string][]int{"s": {32}}) {
			if begun := len(decision.Commands); begun != number/3 {
				t.Errorf("report %d: %d seeds begun, told %v", number, begun, decision.Packets)
			}
		}
	})
}

// A slot of which nothing is known yet leaves the policy its time at the next one.
func TestSlotThatWasNeverSurveyedLeavesThePolicyItsTime(t *testing.T) {
	policies := worthy(t)
	synctest.Test(t, func(t *testing.T) {
		takes := time.Duration(0)
		quick, slow := slowLibrary(&takes), &works{takes: time.Minute}
		survey := slow.makers().survey
		selection := &Selection{lists: newLists(makers{find: quick.find, survey: func(ctx context.Context, slot []int) ([]tezzeret.Candidate, error) {
			if slot[0] == 32 {
				return nil, nil
			}
			return survey(ctx, slot)
		}})}
		defer quick.close()
		defer selection.Close()
		if _, err := selection.Candidates(t.Context(), "run", []int{32}); err != nil {
			t.Fatal(err)
		}
		takes = 4 * step
		decisions := decided(t, selection, policies, map[string][]int{"a": {31}, "b": {32}})
		if last := decisions[3]; len(last.Commands) != 1 || last.Commands[0].GetAnnotations()["slot"] != "b" || slow.surveys.Load() != 1 {
			t.Errorf("%d surveys, told %v", slow.surveys.Load(), last.Packets)
		}
	})
}

// One that is made, and begun anew, between the end of the wait and the look at what came of it is there.
func TestListThatWasMadeAsTheWaitEndedIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLists((&works{takes: time.Minute}).makers())
		defer l.close()
		type answer struct {
			found []tamiyo.Candidate
			err   error
		}
		answers := make(chan answer, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), step)
			defer cancel()
			found, err := l.get(ctx, "run", []int{32})
			answers <- answer{found, err}
		}()
		synctest.Wait()
		l.mu.Lock()
		time.Sleep(step / spareShare) // who waits is at the lock from here on
		for _, known := range l.of {
			known.made, known.candidates = time.Now(), []tamiyo.Candidate{{BlueprintID: "BP001"}}
		}
		l.mu.Unlock()
		if got := <-answers; got.err != nil || len(got.found) != 1 {
			t.Errorf("%v, %v", got.found, got.err)
		}
	})
}

// One that is slow costs each step a share of what is left, and nothing once it is known to be.
// Where it is quick the list is the one that is made now.
func TestListIsWaitedForAsLongAsTheStepCanSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := step / 10
		l := slowLibrary(&takes)
		defer l.close()
		if _, err := l.get(t.Context(), "run", []int{32}); err != nil {
			t.Fatal(err)
		}
		for i, row := range []struct{ takes, waited time.Duration }{
			{step / 10, step / 10}, {step / 10, step / 10}, {4 * step, step / 4}, {4 * step, 0}, {step / 10, 0}, {step / 10, step / 10},
		} {
			takes = row.takes
			ctx, cancel := context.WithTimeout(t.Context(), step)
			begun := time.Now()
			found, err := l.get(ctx, "run", []int{32})
			waited := time.Since(begun)
			cancel()
			fresh := i + 2 // the number of the list that is made now
			if row.waited != row.takes {
				fresh--
			}
			if err != nil || waited != row.waited || len(found) != 1 || found[0].Earned.Tried != fresh {
				t.Errorf("look %d: waited %v for %v, %v", i, waited, found, err)
			}
			time.Sleep(time.Second)
			synctest.Wait() // nobody asks how long it takes any more
		}
		// It is too old to stand in, and made in no time.
		time.Sleep(standIn)
		synctest.Wait()
		takes = 4 * step
		ctx, cancel := context.WithTimeout(t.Context(), step)
		defer cancel()
		if found, err := l.get(ctx, "run", []int{32}); err == nil || ctx.Err() == nil {
			t.Errorf("an old list: %v", found)
		}
		time.Sleep(time.Second)
	})
}
