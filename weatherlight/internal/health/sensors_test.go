package health

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/urza"
)

// monitorOf monitors with the given sensors alone.
func monitorOf(sensors ...sensor) *Monitor {
	return &Monitor{
		config:  Config{Logger: slog.New(slog.DiscardHandler), Clock: cadence.Phase{}},
		sensors: sensors, tracker: newTracker(conditions(time.Minute)),
	}
}

func TestWorkerIsInOneKindOfTroubleAtATime(t *testing.T) {
	once := func(err error) supervise.WorkerFunc {
		failed := false
		return func(ctx context.Context) error {
			if !failed {
				failed = true
				return err
			}
			<-ctx.Done()
			return nil
		}
	}
	always := func(err error) supervise.WorkerFunc { return func(context.Context) error { return err } }
	for _, test := range []struct {
		name   string
		worker supervise.WorkerFunc
		after  time.Duration
		want   string
	}{
		{"failed once", once(errBroken), 5 * time.Minute, ""},
		{"fails always", always(errBroken), 30 * time.Second, alarmWorkerFails},
		{"fails always, for long", always(errBroken), 10 * time.Minute, alarmCircuitOpen},
		{"was left down", always(supervise.Permanent(errBroken)), 5 * time.Second, alarmWorkerDown},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := supervise.New(supervise.Config{})
				workers := &workerSensor{status: s.Status, restarts: make(map[string]int)}
				watch := monitorOf(
					sensor{alarmWorkerDown, workers.down}, sensor{alarmCircuitOpen, workers.open}, sensor{alarmWorkerFails, workers.failing},
				)
				for name, worker := range map[string]supervise.Worker{"ill": test.worker, "watch": watch} {
					if err := s.Start(t.Context(), supervise.Spec{Name: name, Worker: worker}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(test.after)
				var got []string
				for _, alarm := range watch.Alarms() {
					got = append(got, alarm.Name)
					if alarm.Subject != "ill" || alarm.Detail != errBroken.Error() {
						t.Errorf("alarm %+v", alarm)
					}
				}
				if text := strings.Join(got, " "); text != test.want {
					t.Errorf("alarms %q, want %q", text, test.want)
				}
				if err := s.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRiseIsFoundOnce(t *testing.T) {
	count := int64(0)
	r := &riseSensor{count: func() map[string]int64 { return map[string]int64{"a": count} }}
	for i, step := range []struct {
		count int64
		found int
	}{{0, 0}, {2, 1}, {2, 0}, {3, 1}} {
		count = step.count
		if got := r.sample(t.Context()); len(got) != step.found {
			t.Errorf("sample %d: %v", i, got)
		}
	}
}

func TestR31StallIsToldAtOnceAndHindersAsLongAsItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for kind, alarm := range map[string]string{
			oona.StallNeeds: alarmPaused, oona.StallAnswers: alarmUnanswered, oona.StallReading: alarmUnread,
		} {
			found := []oona.Stall{{Stream: "s", Kind: kind, Cause: "NOPERM"}}
			stalls := func() []oona.Stall { return found }
			watch := monitorOf(sensor{alarmPaused, stalled(stalls, oona.StallNeeds)},
				sensor{alarmUnanswered, stalled(stalls, oona.StallAnswers)}, sensor{alarmUnread, stalled(stalls, oona.StallReading)})
			watch.round(t.Context())
			if got := watch.Hindrance(); got != alarm+": s: NOPERM" || len(watch.Alarms()) != 1 {
				t.Errorf("%s: hindrance %q, alarms %+v", kind, got, watch.Alarms())
			}
			found = nil
			time.Sleep(interval)
			watch.round(t.Context())
			if got := watch.Hindrance(); got != "" || len(watch.Alarms()) != 1 {
				t.Errorf("%s, when it is over: hindrance %q, alarms %+v", kind, got, watch.Alarms())
			}
		}
	})
}

func TestFullDiskIsFound(t *testing.T) {
	folder := t.TempDir()
	if lack := lackOfRoom(folder, 1); lack != "" {
		t.Errorf("lack of one byte: %s", lack)
	}
	if lack := lackOfRoom(folder, 1<<62); !strings.Contains(lack, "MiB free") {
		t.Errorf("lack of 4 EiB: %q", lack)
	}
	if lack := lackOfRoom(folder+"/gone", 1); lack == "" {
		t.Error("a folder that is not there has room")
	}
}

func TestOutageOfTheCatalogueIsFoundThoughNobodyAsksForAKernel(t *testing.T) {
	library, err := urza.Open(t.Context(), urza.Config{
		DatabaseURL: "sqlite:///" + filepath.Join(t.TempDir(), "catalog.db"), ArtifactDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	sample := answers(library.Ping)
	before := library.Stats().Memory.Misses
	if found := sample(t.Context()); len(found) != 0 {
		t.Errorf("findings %v of a sound catalogue", found)
	}
	if after := library.Stats().Memory.Misses; after != before {
		t.Errorf("the look counted as %v look-ups", after-before)
	}
	if err := library.Close(); err != nil {
		t.Fatal(err)
	}
	if found := sample(t.Context()); len(found) != 1 {
		t.Errorf("findings %v of a catalogue that is gone, want one", found)
	}
}

func TestCostlyLookIsTakenRarelyWhileAllIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		look := rarely(func(context.Context) []finding {
			asked++
			return nil
		})
		for range 11 {
			if found := look(t.Context()); len(found) != 0 {
				t.Fatalf("findings %v", found)
			}
			time.Sleep(interval)
		}
		if asked != 3 {
			t.Errorf("asked %d times in 11 s, want 3", asked)
		}
	})
}

// One answer that came too late is a blip, however rarely it is asked.
func TestOneSlowAnswerOfTheCatalogueIsNoAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := 1
		look := rarely(func(context.Context) []finding {
			if slow--; slow < 0 {
				return nil
			}
			return []finding{{detail: "context deadline exceeded"}}
		})
		watch := monitorOf(sensor{alarmLibraryDown, look})
		rounds := func(n int) (raised int) {
			for range n {
				watch.round(t.Context())
				raised += len(watch.Alarms())
				time.Sleep(interval)
			}
			return raised
		}
		if raised := rounds(20); raised != 0 {
			t.Errorf("an alarm for %d rounds", raised)
		}
		slow = 5
		if raised := rounds(20); raised == 0 {
			t.Error("an outage of 5 s is no alarm")
		}
	})
}

// The cause of work that does not complete need not be known.
func TestR31WorkThatDoesNotCompleteIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		hands := []progress{{worker: "idle", within: time.Second}, {worker: "busy", item: "item", since: begun, within: time.Minute}}
		watch := monitorOf(sensor{alarmWorkStuck, standstills(func(context.Context) []progress { return hands })})
		for range 100 {
			watch.round(t.Context())
			told := len(watch.Alarms()) > 0
			if age := time.Since(begun); told != (age > time.Minute+5*time.Second) {
				t.Fatalf("after %v: alarms %+v", age, watch.Alarms())
			}
			time.Sleep(interval)
		}
		if a := watch.Alarms()[0]; a.Subject != "busy" || !strings.HasPrefix(a.Detail, "item since") || watch.Hindrance() != "" {
			t.Errorf("alarm %+v, hindrance %q", a, watch.Hindrance())
		}
		hands[1].since = time.Now() // the next item
		for range 5 {
			watch.round(t.Context())
			time.Sleep(interval)
		}
		if alarms := watch.Alarms(); len(alarms) != 0 {
			t.Errorf("alarms %+v once it was finished", alarms)
		}
	})
}

// spoilt is an outbox whose file fails since a time.
type spoilt struct {
	silent

	since time.Time
}

func (s spoilt) Oldest(context.Context) (since time.Time, err error) { return s.since, errBroken }

func TestOutboxWhoseFileFailsForLongIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		c := Config{
			Workers: Crew{Job: func() (string, time.Time) { return "", time.Time{} }},
			Bus:     silent{}, Telemetry: silent{}, Outbox: spoilt{since: begun},
		}
		watch := monitorOf(sensor{alarmWorkStuck, standstills(c.inHand)})
		for time.Since(begun) < 30*time.Second {
			watch.round(t.Context())
			time.Sleep(interval)
		}
		alarms := watch.Alarms()
		if len(alarms) != 1 || alarms[0].Subject != "outbox" || !strings.HasPrefix(alarms[0].Detail, errBroken.Error()+" since") {
			t.Errorf("alarms %+v", alarms)
		}
	})
}

// silent answers nothing: whoever asks waits until he has had enough.
type silent struct{}

func (silent) Ping(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (silent) Health() oona.Health            { return oona.Health{} }
func (silent) Drops() []oona.Drop             { return nil }
func (silent) Stalls() []oona.Stall           { return nil }
func (silent) ClockOffset() (ahead, uncertainty time.Duration, known bool) {
	return 0, 0, false
}

func (silent) Refuses(ctx context.Context) error { <-ctx.Done(); return nil }
func (silent) Evicts(ctx context.Context) error  { <-ctx.Done(); return nil }
func (silent) Unusable(ctx context.Context) map[string]error {
	<-ctx.Done()
	return nil
}

func (silent) Oldest(context.Context) (since time.Time, err error) { return time.Time{}, nil }
func (silent) Waiting(context.Context) (waiting, refused int, err error) {
	return 0, 0, nil
}

func (silent) InHand() time.Time      { return time.Time{} }
func (silent) Lost() map[string]int64 { return nil }

func (silent) Contested(time.Time) map[string]string { return nil }
func (silent) Damaged(time.Time) map[string]string   { return nil }

func TestWhoseFilesWereReplacedIsNamed(t *testing.T) {
	gone := errors.New("a.log was removed")
	found := replaced(map[string]func() error{
		"reports": func() error { return gone }, "outbox": func() error { return nil }, "locks": func() error { return gone },
	})
	if want := []finding{{"locks", gone.Error()}, {"reports", gone.Error()}}; !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}

func TestBusThatIsSilentIsToldInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := Config{
			Workers: Crew{
				Status: func() []supervise.Status { return nil }, Job: func() (string, time.Time) { return "", time.Time{} },
				Failures: func() map[string]int64 { return nil },
			},
			Bus: silent{}, Server: silent{}, Outbox: silent{}, Telemetry: silent{}, Runs: silent{}, Library: silent{}.Ping,
			Place: func() error { return nil }, Signals: func() map[string]error { return nil }, Nissa: func() error { return nil },
			Maintenance: time.Minute, Clock: cadence.Phase{}, Logger: slog.New(slog.DiscardHandler),
		}
		ctx, stop := context.WithCancel(t.Context())
		monitor := New(config)
		done := make(chan error, 1)
		go func() { done <- monitor.Run(ctx) }()
		time.Sleep(6 * time.Second)
		alarms := monitor.Alarms()
		if !slices.ContainsFunc(alarms, func(a Alarm) bool { return a.Name == alarmBusDown }) {
			t.Errorf("after 6 s of silence: %+v", alarms)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
