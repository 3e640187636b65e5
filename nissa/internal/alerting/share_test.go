package alerting_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
	"github.com/esper-lite/weatherlight/telemetry"
)

// onEachDatabase runs a test on an empty database of each kind.
func onEachDatabase(t *testing.T, test func(t *testing.T, url string)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, sqliteURL(t)) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); test(t, pgtest.Start(t).URL("")) })
}

func (d *desk) judging(t *testing.T) bool {
	t.Helper()
	return strings.Contains(shown(t, d.Desk), "nissa_alerts_judging 1")
}

// pair is a desk that judges, and another one on the same store.
func pair(t *testing.T, text, url string) (judge, other *desk) {
	t.Helper()
	judge = startAs(t, "judge", text, openStore(t, url), nil)
	eventually(t, "one judges", func() bool { return judge.judging(t) })
	return judge, startAs(t, "other", text, openStore(t, url), nil)
}

// seen are the alerts that a desk shows. It sees what others wrote as a service does.
func (d *desk) seen(t *testing.T) string {
	t.Helper()
	if err := d.store.runs.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, a := range d.Alerts() {
		states = append(states, strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Rule, a.Labels["run"], a.State)))
	}
	return strings.Join(states, "; ")
}

// What makes an alert is told to several desks, in turns. It is one alert, told once, and what is
// wanted of one of them holds at all. When the one that judges is killed, another goes on.
func TestDesksThatShareAStoreAreOne(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		h := newHook(t)
		file := strings.ReplaceAll(text(h), "severity: warning", "severity: warning, count: 4")
		judge, other := pair(t, file, url)
		for n := range 4 {
			[]*desk{judge, other}[n%2].heat(t, 12, "a")
		}
		for _, d := range []*desk{judge, other} {
			eventually(t, "both show the alert", func() bool { return d.seen(t) == "hot a firing" })
		}
		h.hears(t, "firing hot a")

		silence, err := other.Silence(t.Context(), alert.Silence{Rule: "hot", Labels: map[string]string{"run": "b"},
			Until: time.Now().Add(time.Hour), By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Acknowledge(t.Context(), other.Alerts()[0].ID, "ann", ""); err != nil {
			t.Fatal(err)
		}
		for name, d := range map[string]*desk{"judge": judge, "other": other} { // both are answered when they hold
			if a := d.Alerts()[0]; a.Ack == nil || a.Ack.By != "ann" || len(d.Silences()) != 1 {
				t.Errorf("%s: %+v, silences %+v", name, a, d.Silences())
			}
		}
		for range 4 {
			other.heat(t, 12, "b")
		}
		eventually(t, "the silenced one is there", func() bool { return strings.Contains(judge.seen(t), "hot b firing") })

		judge.kill()
		eventually(t, "another judges", func() bool { return other.judging(t) })
		other.heat(t, 1, "a")
		h.hears(t, "firing hot a; resolved hot a")
		if err := other.EndSilence(t.Context(), silence.ID, "bob"); err != nil {
			t.Fatal(err)
		}
		h.hears(t, "firing hot a; resolved hot a; firing hot b")
		for _, err := range []error{
			other.EndSilence(t.Context(), silence.ID, "bob"), errOf(other.Acknowledge(t.Context(), "x", "bob", "")),
		} {
			if !errors.Is(err, alerting.ErrUnknown) {
				t.Errorf("error %v", err)
			}
		}
	})
}

// A kill comes after what an alert is made of is in the store, and before each of the steps behind
// that. The alert is told by who judges next, and so is its end.
func TestKillsLoseNoAlert(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kill func(t *testing.T, d *desk, h *hook)
		told string
	}{
		"before it is judged": {
			kill: func(t *testing.T, d *desk, _ *hook) { d.kill(); d.heat(t, 12, "a") },
			told: "firing hot a; resolved hot a",
		},
		"before it is written": {
			kill: func(t *testing.T, d *desk, h *hook) {
				h.Down.Store(true)
				d.store.deaf.Store(true)
				d.heat(t, 12, "a")
				eventually(t, "it is judged", func() bool { return d.seen(t) == "hot a firing" })
				d.kill()
				h.Down.Store(false)
			},
			told: "firing hot a; resolved hot a",
		},
		"before it is told": {
			kill: func(t *testing.T, d *desk, h *hook) {
				h.Down.Store(true)
				d.heat(t, 12, "a")
				eventually(t, "it is written", func() bool {
					judged, _, err := d.store.Judged(t.Context(), 0)
					return err == nil && strings.Contains(judged.State, `"firing"`)
				})
				d.kill()
				h.Down.Store(false)
			},
			told: "firing hot a; resolved hot a",
		},
		"before it is written that it was told": {
			kill: func(t *testing.T, d *desk, h *hook) {
				d.store.deaf.Store(true)
				d.heat(t, 12, "a")
				h.hears(t, "firing hot a")
				d.kill()
			},
			told: "firing hot a; firing hot a; resolved hot a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHook(t)
			judge, other := pair(t, text(h), sqliteURL(t))
			c.kill(t, judge, h)
			eventually(t, "the alert is there", func() bool { return other.seen(t) == "hot a firing" })
			eventually(t, "it is told", func() bool { return h.all() == strings.TrimSuffix(c.told, "; resolved hot a") })
			other.heat(t, 1, "a")
			h.hears(t, c.told)
		})
	}
}

// What conditions look back at is not lost with who judged.
func TestHeirsLookBackAsFar(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	judge, other := pair(t, quick+fmt.Sprintf(`
receivers: [{name: hook, url: %q}]
rules: [{name: rises, summary: s, severity: info, metric: c, when: 'increase("5m") >= 3 && last("d") == 7', receivers: hook}]
`, h.URL), sqliteURL(t))
	for n := range 3 {
		judge.hear(t, telemetry.New("oven", "p").Metric("c", float64(n), "").Metric("d", 7, "").Build())
	}
	judge.stop()
	eventually(t, "another judges", func() bool { return other.judging(t) })
	other.hear(t, telemetry.New("oven", "p").Metric("c", 3, "").Build())
	h.hears(t, "firing rises")
}

// Who was stopped for long writes nothing over, tells nobody, and shows what the others have judged.
func TestWhoWasStoppedForLongHasNoLead(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	judge, other := pair(t, text(h), sqliteURL(t))
	judge.store.sever()
	eventually(t, "another judges, and the first knows that it does not", func() bool { return other.judging(t) && !judge.judging(t) })
	other.heat(t, 12, "a")
	h.hears(t, "firing hot a")
	judge.store.mend()
	eventually(t, "the first shows what was judged meanwhile", func() bool { return judge.seen(t) == "hot a firing" })
	judge.heat(t, 1, "a")
	h.hears(t, "firing hot a; resolved hot a")
	if judge.judging(t) {
		t.Error("two desks judge")
	}
}

// Who has seen an alert, or a silence, at one desk may ask another about it at once.
func TestWhatOneDeskShowsAllKnow(t *testing.T) {
	t.Parallel()
	judge, other := pair(t, text(newHook(t)), sqliteURL(t))
	eventually(t, "the other shows what is judged", func() bool { return !other.judging(t) })
	for n := range 5 {
		judge.heat(t, 12, fmt.Sprint(n))
		eventually(t, "it fires", func() bool { return strings.Count(judge.seen(t), "firing") == n+1 })
		eventually(t, "it is written", func() bool {
			judged, _, err := judge.store.Judged(t.Context(), 0)
			return err == nil && strings.Count(judged.State, `"state":"firing"`) > n
		})
		for _, a := range judge.Alerts() {
			if _, err := other.Acknowledge(t.Context(), a.ID, "ann", ""); err != nil {
				t.Errorf("alert %d: %v", n, err)
			}
		}
		silence, err := judge.Silence(t.Context(), alert.Silence{Rule: "hot", Until: time.Now().Add(time.Hour), By: "ann"})
		if err == nil {
			err = other.EndSilence(t.Context(), silence.ID, "bob")
		}
		if err != nil || len(judge.Silences()) != 0 {
			t.Errorf("silences %+v, error %v", judge.Silences(), err)
		}
	}
	if _, err := other.Acknowledge(t.Context(), "none", "ann", ""); !errors.Is(err, alerting.ErrUnknown) {
		t.Errorf("error %v", err)
	}
}

// What cannot be judged is left out, and what lies behind it is judged.
func TestWhatCannotBeJudgedHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	d := start(t, text(h), openStore(t, sqliteURL(t)), nil)
	for _, body := range []string{
		"{", `{"packet": "AAAA"}`, `{"packet": 3}`, "{}", "null", `{"silence": {}}`, `{"end_silence": {"id": "none"}}`, `{"acknowledge": {"alert": "none"}}`,
	} {
		if _, err := d.store.Wish(t.Context(), runs.Message{Stream: "s", Entry: body, Judge: body}); err != nil {
			t.Fatal(err)
		}
	}
	d.heat(t, 12, "a")
	h.hears(t, "firing hot a")
}

// Whatever senders count, the state can be written.
func TestNoFigureKeepsTheStateFromBeingWritten(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	d := start(t, quick+fmt.Sprintf(`
receivers: [{name: hook, url: %q}]
rules: [{name: hot, summary: s, severity: info, metric: heat, when: 'value > 9 && last("c") != 0 && highest("5m") > 0', receivers: hook}]
objectives: [{name: o, summary: s, target: 0.9, window: 1h, total: [c], bad: [c], receivers: hook}]
`, h.URL), openStore(t, sqliteURL(t)), nil)
	for _, value := range []float64{0, math.MaxFloat64, 0, math.MaxFloat64, 0, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)} {
		d.hear(t, telemetry.New("oven", "p").Metric("c", value, "").Metric("heat", value, "").Build())
	}
	eventually(t, "the state is written", func() bool {
		judged, _, err := d.store.Judged(t.Context(), 0)
		return err == nil && strings.Contains(judged.State, `"rule":"hot"`) && strings.Contains(judged.State, `"name":"o"`)
	})
	if _, err := d.Silence(t.Context(), alert.Silence{Rule: "hot", Until: time.Now().Add(time.Hour), By: "me"}); err != nil {
		t.Fatal(err)
	}
	entries, _, err := d.store.Unjudged(t.Context(), 0) // what was granted is written, and all before it is
	if err != nil || len(entries) != 0 {
		t.Errorf("%d entries are left, error %v", len(entries), err)
	}
}

// While the store does not take what somebody wants, he is told so.
func TestWishesWithoutAStore(t *testing.T) {
	t.Parallel()
	d := start(t, text(newHook(t)), openStore(t, sqliteURL(t)), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Silence(ctx, alert.Silence{Rule: "hot", Until: time.Now().Add(time.Hour), By: "me"}); !errors.Is(err, alerting.ErrStore) {
		t.Errorf("error %v", err)
	}
}

// Senders say how large a packet is: what lies there is judged in its order, and only a little of it
// is in the memory at a time.
func TestLargePacketsAreJudgedAFewAtATime(t *testing.T) {
	t.Parallel()
	h, url := newHook(t), sqliteURL(t)
	d := &desk{store: &severable{Journal: runstore.NewJournal(openStore(t, url))}}
	d.store.runs = openStore(t, url)
	var err error
	if d.Desk, err = alerting.New(alerting.Config{Read: func() ([]byte, string, error) { return []byte(text(h)), "", nil }}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 1<<20)
	for n := range 12 {
		d.hear(t, telemetry.New("oven", fmt.Sprint(n)).Metric("heat", 12, "", "run", fmt.Sprint(n), "long", long).Build())
	}
	judge := start(t, text(h), openStore(t, url), nil)
	eventually(t, "all are judged", func() bool { return strings.Count(judge.seen(t), "firing") == 12 })
	if got := judge.store.largest.Load(); got > 8<<20 {
		t.Errorf("%d bytes are judged at a time", got)
	}
}
