package control_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

// shaky is a store whose writes fail as a test wants them to. It is set while nobody
// writes.
type shaky struct {
	runrecord.Store

	fails  func(oona.RecordWrite) error // nil: nothing does
	writes atomic.Int64
}

// between puts the store in front of the room's own.
func (s *shaky) between(c *control.Config) { s.Store, c.Records = c.Records, s }

func (s *shaky) Save(ctx context.Context, write oona.RecordWrite) (int64, error) {
	s.writes.Add(1)
	if s.fails != nil {
		if err := s.fails(write); err != nil {
			return 0, err
		}
	}
	return s.Store.Save(ctx, write)
}

// crash fails every write.
func crash(oona.RecordWrite) error { return errCrash }

// once fails the first write, as if another instance had come before it.
func once(part string) func(oona.RecordWrite) error {
	came := false
	return func(write oona.RecordWrite) error {
		if came || write.Key.Part != part {
			return nil
		}
		came = true
		return &oona.ConflictError{Key: write.Key, Expected: write.Version, Found: write.Version + 1}
	}
}

// clock is the bus's, and so much later.
type clock struct{ passed time.Duration }

func (k *clock) ahead(c *control.Config) {
	now := c.Now
	c.Now = func() time.Time { return now().Add(k.passed) }
}

// journal is what a room logs.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) keep(c *control.Config) { c.Logger = slog.New(slog.NewTextHandler(j, nil)) }

// counters are those that have counted, by their names and their labels.
func (o *office) counters() map[string]float64 {
	found := make(map[string]float64)
	for _, point := range telemetry.MetricPoints(o.Counters().Totals().Figures()) {
		name := point.GetName()
		for _, label := range slices.Sorted(maps.Values(point.GetAttributes())) {
			name += " " + label
		}
		if point.GetValue() != 0 && point.GetUnit() == "count" {
			found[name] = point.GetValue()
		}
	}
	return found
}

// The bus brings back a report of which one half failed. To the other half it is then a
// repetition, and Tamiyo must hear of it all the same, once.
func TestReportThatFailedHalfwayReachesBothHalvesWhenItComesAgain(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		for _, part := range []string{control.PartKasmina, control.PartTamiyo} {
			store, run := &shaky{}, "run of "+part
			o := open(t, url, part, eager, store.between)
			o.hear(run)
			stalled := o.report(run)
			store.fails = func(write oona.RecordWrite) error {
				if write.Key.Part != part {
					return nil
				}
				return errCrash
			}
			if _, err := o.State(t.Context(), stalled); !errors.Is(err, errCrash) {
				t.Errorf("%s fails: %v", part, err)
			}
			store.fails = nil
			for range 2 {
				if _, err := o.State(t.Context(), stalled); err != nil {
					t.Error(err)
				}
			}
			if view := o.view(run); view.Kasmina.Trainer.Report != o.number || view.Tamiyo.Number != o.number {
				t.Errorf("%s failed: Kasmina knows report %d, Tamiyo %d of %d",
					part, view.Kasmina.Trainer.Report, view.Tamiyo.Number, o.number)
			}
			if commands := sentOf[*leyline.AdaptationCommand](o); len(commands) != 1 {
				t.Errorf("%s failed: %d commands for a run that stalls", part, len(commands))
			}
		}
	})
}

func TestDecisionIsCountedOnceItIsStored(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		store, later := &shaky{}, &clock{}
		o := open(t, url, "a", store.between, later.ahead, func(c *control.Config) {
			c.Core = kasmina.NewCore(kasmina.Config{Keyring: c.Keyring, PrefetchTimeout: time.Minute, Takeover: time.Hour})
		})
		o.hear("run-1")
		germinate := o.command("germinate", "run-1", germinating("seed-1"))
		command := func() error { _, err := o.Command(t.Context(), delivered(germinate)); return err }
		tick := func() error { return o.Tick(t.Context()) }
		none := map[string]float64{}
		asked := map[string]float64{
			"kasmina.command_verifier.accepted_total": 1, "kasmina.gates_total SEED_GATE_G0_SANITY true": 1,
			"kasmina.prefetch.requests_total scheduled": 1,
		}
		again := maps.Clone(asked)
		again["kasmina.prefetch.requests_total scheduled"] = 2
		again["kasmina.prefetch.requests_total timeout"] = 1
		for _, step := range []struct {
			name   string
			passed time.Duration // the claim on a run whose tick failed has run out in between
			act    func() error
			fails  func(oona.RecordWrite) error
			lost   bool
			want   map[string]float64
		}{
			{"a command that is not stored", 0, command, crash, true, none},
			{"the command, decided on twice", 0, command, once(control.PartKasmina), false, asked},
			{"nothing is due", 0, tick, nil, false, asked},
			{"a tick that is not stored", 2 * time.Minute, tick, crash, true, asked},
			{"the tick, decided on twice", 150 * time.Second, tick, once(control.PartKasmina), false, again},
			{"nothing is due any more", 150 * time.Second, tick, nil, false, again},
		} {
			later.passed, store.fails = step.passed, step.fails
			if err := step.act(); errors.Is(err, errCrash) != step.lost {
				t.Errorf("%s: %v", step.name, err)
			}
			if got := o.counters(); !maps.Equal(got, step.want) {
				t.Errorf("%s: counted %v, want %v", step.name, got, step.want)
			}
		}
	})
}

// A run that can never take what concerns all runs must not keep the others from it, and
// is told of.
func TestRunWhoseDecisionIsTooLargeDoesNotHoldUpTheOthers(t *testing.T) {
	halting := func(o *office) error {
		return o.Emergency(o.t.Context(), "", kasmina.Emergency{Level: halt, ID: "signal-1"})
	}
	commanding := func(o *office) error {
		_, err := o.Command(o.t.Context(), delivered(o.command("halt", "", func(c *leyline.AdaptationCommand) {
			c.CommandType = leyline.CommandType_COMMAND_EMERGENCY
			c.Annotations["level"] = halt.String()
		})))
		return err
	}
	ticking := func(o *office) error { return o.Tick(o.t.Context()) }
	halted := func(view *kasmina.View) bool { return view.Emergency == halt.String() }
	silent := func(view *kasmina.View) bool { return view.Trainer.Silent }
	onBothBuses(t, func(t *testing.T, url string) {
		for name, row := range map[string]struct {
			act     func(*office) error
			reached func(*kasmina.View) bool
		}{
			"emergency": {halting, halted}, "command": {commanding, halted}, "tick": {ticking, silent},
		} {
			store, later, log := &shaky{}, &clock{}, &journal{}
			o := open(t, url, name, store.between, later.ahead, log.keep)
			huge, small := "huge, "+name, "small, "+name
			o.hear(huge, small)
			store.fails = tooLarge(huge)
			later.passed = 20 * time.Minute // after which trainers count as silent
			if err := row.act(o); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if row.reached(o.view(huge).Kasmina) || !row.reached(o.view(small).Kasmina) {
				t.Errorf("%s: the one run is %+v, the other %+v", name, o.view(huge).Kasmina, o.view(small).Kasmina)
			}
			if told := strings.Count(log.String(), "too large to keep"); told != 1 {
				t.Errorf("%s: told %d times of the one run: %s", name, told, log.String())
			}
		}
	})
}

// tooLarge refuses whatever is decided on a run.
func tooLarge(run string) func(oona.RecordWrite) error {
	return func(write oona.RecordWrite) error {
		if write.Key.Run != run {
			return nil
		}
		return fmt.Errorf("save: %w", oona.ErrTooLarge)
	}
}

// What came meanwhile may have made room, so it is tried again, and not all the time.
func TestRunWhoseTickIsTooLargeIsLookedAtAgainMuchLater(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		store, later := &shaky{}, &clock{}
		o := open(t, url, "a", store.between, later.ahead)
		o.hear("run-1")
		store.fails = tooLarge("run-1")
		for _, look := range []struct {
			passed time.Duration
			tries  int64
		}{{20 * time.Minute, 1}, {50 * time.Minute, 0}, {2 * time.Hour, 1}} {
			later.passed = look.passed
			before := store.writes.Load()
			if err := o.Tick(t.Context()); err != nil {
				t.Error(err)
			}
			if tries := store.writes.Load() - before; tries != look.tries {
				t.Errorf("after %s it is tried %d times, want %d", look.passed, tries, look.tries)
			}
		}
	})
}

// A record that nobody can read is told of, and neither a scan nor an emergency ends at it.
func TestRunWhoseRecordCannotBeReadDoesNotHideTheOthers(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		log := &journal{}
		o := open(t, url, "a", log.keep)
		o.hear("run-1", "run-2", "run-3")
		key := oona.RecordKey{Part: control.PartKasmina, Run: "run-2"}
		stored, err := o.config.Records.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		spoilt := oona.RecordWrite{Key: key, Version: stored.Version, Value: []byte("nonsense")}
		if _, err := o.config.Records.Save(t.Context(), spoilt); err != nil {
			t.Fatal(err)
		}
		var visited []string
		if err := o.Each(t.Context(), func(run string, _ *kasmina.Record) { visited = append(visited, run) }); err != nil {
			t.Error(err)
		}
		if want := []string{"run-1", "run-3"}; !slices.Equal(visited, want) {
			t.Errorf("visited %q, want %q", visited, want)
		}
		if told := log.String(); !strings.Contains(told, "cannot be read") || !strings.Contains(told, "run=run-2") {
			t.Errorf("told: %q", told)
		}
		other := open(t, url, "b") // which has no record in memory
		if err := other.Emergency(t.Context(), "", kasmina.Emergency{Level: halt, ID: "signal-1"}); err != nil {
			t.Error(err)
		}
		if reached := other.inEmergency([]string{"run-1", "run-3"}, halt); reached != 2 {
			t.Errorf("%d of the others are halted", reached)
		}
	})
}
