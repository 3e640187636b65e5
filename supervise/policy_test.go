package supervise_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/supervise"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A seeded schedule is the same on every machine and in every version: a simulation can be replayed from its seed.
func TestSeededScheduleIsGolden(t *testing.T) {
	rng, now := seeded(), epoch
	var history supervise.History
	var got []time.Duration
	for range 13 {
		var decision supervise.Decision
		history, decision = supervise.Policy{}.Next(history, supervise.Outcome{Err: errBoom}, now, rng)
		got = append(got, decision.Delay)
		now = now.Add(decision.Delay)
	}
	want := []time.Duration{ // nanoseconds
		615_313_365, 1_383_563_776, 2_431_143_996, 4_813_613_686, 14_125_789_835, 29_381_921_144,
		22_501_323_669, 23_259_241_833, 28_008_009_919, 27_244_032_355, 20_071_254_159, 23_328_165_449,
		15_885_030_209,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schedule (-want +got):\n%s", diff)
	}
}

func TestDelayWithoutJitterDoublesToTheCap(t *testing.T) {
	tests := []struct {
		name   string
		policy supervise.Policy
		want   []time.Duration
	}{
		{"defaults", supervise.Policy{}, seconds(1, 2, 4, 8, 16, 30, 30)},
		{"cap between doublings", supervise.Policy{Base: 3 * time.Second, Cap: 10 * time.Second}, seconds(3, 6, 10, 10)},
		{"base above cap", supervise.Policy{Base: time.Minute}, seconds(30, 30)},
		{"no overflow", supervise.Policy{Base: math.MaxInt64/2 - 1, Cap: math.MaxInt64},
			[]time.Duration{math.MaxInt64/2 - 1, math.MaxInt64 - 3, math.MaxInt64, math.MaxInt64}},
		{"negative is default", supervise.Policy{Base: -1, Cap: -1, Budget: -1}, seconds(1, 2)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var history supervise.History
			for i, want := range test.want {
				var decision supervise.Decision
				history, decision = test.policy.Next(history, supervise.Outcome{Err: errBoom}, epoch, nil)
				if decision.Delay != want {
					t.Errorf("delay %d = %v, want %v", i+1, decision.Delay, want)
				}
			}
		})
	}
}

func TestVerdictFollowsFromWhatRunReturned(t *testing.T) {
	tests := []struct {
		name    string
		outcome supervise.Outcome
		verdict supervise.Verdict
		err     error
	}{
		{"error", supervise.Outcome{Err: errBoom}, supervise.Restart, errBoom},
		{"nil", supervise.Outcome{}, supervise.Restart, supervise.ErrReturned},
		{"nil of a finite worker", supervise.Outcome{Finite: true}, supervise.Finish, nil},
		{"error of a finite worker", supervise.Outcome{Finite: true, Err: errBoom}, supervise.Restart, errBoom},
		{"permanent", supervise.Outcome{Err: supervise.Permanent(errBoom)}, supervise.LeaveDown, errBoom},
		{"permanent, wrapped", supervise.Outcome{Err: fmt.Errorf("run: %w", supervise.Permanent(errBoom))},
			supervise.LeaveDown, errBoom},
		{"fatal", supervise.Outcome{Err: supervise.Fatal(errBoom)}, supervise.StopProcess, errBoom},
		{"fatal among others", supervise.Outcome{
			Err: errors.Join(supervise.Permanent(errBoom), supervise.Fatal(errBoom))}, supervise.StopProcess, errBoom},
		{"panic with a permanent error", supervise.Outcome{
			Err: &supervise.PanicError{Value: supervise.Permanent(errBoom)}}, supervise.Restart, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, got := supervise.Policy{}.Next(supervise.History{}, test.outcome, epoch, nil)
			if got.Verdict != test.verdict {
				t.Errorf("verdict = %v, want %v", got.Verdict, test.verdict)
			}
			if test.err != nil && !errors.Is(got.Err, test.err) {
				t.Errorf("error = %v, want %v", got.Err, test.err)
			}
			if (got.Delay > 0) != (test.verdict == supervise.Restart) {
				t.Errorf("delay = %v with verdict %v", got.Delay, got.Verdict)
			}
		})
	}
}

func TestClassesOfNilAreNil(t *testing.T) {
	if supervise.Permanent(nil) != nil || supervise.Fatal(nil) != nil {
		t.Error("a class of nil is an error")
	}
	if supervise.IsFatal(supervise.Permanent(errBoom)) || supervise.IsPermanent(errBoom) {
		t.Error("classes are mixed up")
	}
}

func TestElevenFailuresInFiveMinutesOpenTheCircuit(t *testing.T) {
	fail := func(h supervise.History, at time.Duration) (supervise.History, supervise.Decision) {
		return supervise.Policy{}.Next(h, supervise.Outcome{Err: errBoom}, epoch.Add(at), nil)
	}
	var history supervise.History
	for i := range 10 {
		history, _ = fail(history, time.Duration(i)*20*time.Second)
	}
	if history.Circuit != supervise.Closed {
		t.Fatalf("circuit %v after 10 failures", history.Circuit)
	}
	if late, _ := fail(history, 5*time.Minute); late.Circuit != supervise.Closed {
		t.Errorf("circuit %v although the first failure has left the window", late.Circuit)
	}
	open, decision := fail(history, 5*time.Minute-time.Nanosecond)
	if open.Circuit != supervise.Open || decision.Delay != 30*time.Second {
		t.Errorf("circuit %v, delay %v, want open and the cap", open.Circuit, decision.Delay)
	}
	probe := open.Probe()
	if probe.Circuit != supervise.HalfOpen || history.Probe().Circuit != supervise.Closed {
		t.Errorf("probe: %v from open, %v from closed", probe.Circuit, history.Probe().Circuit)
	}
	if again, _ := fail(probe, time.Hour); again.Circuit != supervise.Open {
		t.Errorf("circuit %v after a failed probe, want open", again.Circuit)
	}
}

func TestHealthyRunForgives(t *testing.T) {
	now := epoch
	fail := func(h supervise.History, healthy time.Duration) (supervise.History, supervise.Decision) {
		return supervise.Policy{}.Next(h, supervise.Outcome{Err: errBoom, Healthy: healthy}, now, nil)
	}
	var history supervise.History
	for range 12 {
		history, _ = fail(history, 0)
	}
	if same, _ := fail(history, time.Minute-1); same.Circuit != supervise.Open {
		t.Error("a run just short of ResetAfter closed the circuit")
	}
	history, decision := fail(history, time.Minute)
	want := supervise.History{Streak: 1, Failures: []time.Time{now}}
	if diff := cmp.Diff(want, history); diff != "" || decision.Delay != time.Second {
		t.Errorf("delay %v, history (-want +got):\n%s", decision.Delay, diff)
	}
	history, _ = fail(history, 0)
	history, _ = fail(history, time.Minute)
	if history.Streak != 1 || len(history.Failures) != 3 {
		t.Errorf("%+v: a closed circuit must forget the streak and keep the budget", history)
	}
}

func TestPolicyHoldsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := supervise.Policy{
			Base:   time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "base")),
			Cap:    time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "cap")),
			Budget: rapid.IntRange(0, 20).Draw(t, "budget"),
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		limit := policy.Cap
		if limit == 0 {
			limit = 30 * time.Second
		}
		var history supervise.History
		now := epoch
		for range rapid.IntRange(1, 60).Draw(t, "failures") {
			healthy := time.Duration(rapid.Int64Range(0, int64(2*time.Minute)).Draw(t, "healthy"))
			now = now.Add(healthy)
			o := supervise.Outcome{Err: errBoom, Healthy: healthy}
			before := supervise.History{Streak: history.Streak, Circuit: history.Circuit}
			before.Failures = append(before.Failures, history.Failures...)
			full, upper := policy.Next(history, o, now, nil)
			next, drawn := policy.Next(history, o, now, rng)
			if !cmp.Equal(full, next) || len(history.Failures) != len(before.Failures) {
				t.Fatalf("Next is not pure: %+v, %+v", full, next)
			}
			if drawn.Delay > upper.Delay || drawn.Delay < upper.Delay/2 || upper.Delay > limit {
				t.Fatalf("delay %v outside [%v/2, %v], cap %v", drawn.Delay, upper.Delay, upper.Delay, limit)
			}
			if policy.Budget > 0 && len(next.Failures) > policy.Budget+1 {
				t.Fatalf("history grew to %d, budget %d", len(next.Failures), policy.Budget)
			}
			history, now = next, now.Add(drawn.Delay)
		}
	})
}

// However a worker fails, it is no burden: at most 5 starts in any 10 seconds.
func TestNeverMoreThanFiveStartsInTenSeconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		lives := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{
			0, 0, 0, time.Millisecond, time.Second, 59 * time.Second, time.Minute, time.Hour,
		}), 6, 200).Draw(t, "lives")
		var history supervise.History
		now, starts := epoch, []time.Time{}
		for _, life := range lives {
			starts = append(starts, now)
			now = now.Add(life)
			var d supervise.Decision
			history, d = supervise.Policy{}.Next(history.Probe(), supervise.Outcome{Healthy: life}, now, rng)
			now = now.Add(d.Delay)
		}
		for i := 5; i < len(starts); i++ {
			if gap := starts[i].Sub(starts[i-5]); gap < 10*time.Second {
				t.Fatalf("6 starts within %v", gap)
			}
		}
	})
}

func seconds(values ...int) []time.Duration {
	out := make([]time.Duration, len(values))
	for i, v := range values {
		out[i] = time.Duration(v) * time.Second
	}
	return out
}
