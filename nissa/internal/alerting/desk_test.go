package alerting_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
	"github.com/esper-lite/weatherlight/telemetry"
)

func TestN17AlertsArriveAndResolve(t *testing.T) {
	h := newHook(t)
	d := start(t, text(h), nil, nil)
	d.heat(t, 12, "a")
	h.hears(t, "firing hot a")
	d.heat(t, 5, "b")
	d.heat(t, 12, "a")
	d.heat(t, 5, "a")
	h.hears(t, "firing hot a; resolved hot a")
	d.Observe(telemetry.New("oven", "p").Event("gone", warning).Build())
	d.Observe(telemetry.New("oven", "p").Event("back", warning).Build())
	eventually(t, "both are told", func() bool { return strings.Contains(h.all(), "resolved gone") })
	eventually(t, "the bus hears of them", func() bool {
		return d.said() == "alert_fires; alert_resolved; alert_fires; alert_resolved"
	})
}

// What happened while Nissa was away is told as what it is by then.
func TestOldEventsAreToldAsOver(t *testing.T) {
	h := newHook(t)
	d := start(t, strings.ReplaceAll(text(h), "quiet: 1h", "quiet: 10m"), nil, nil)
	old := time.Now().Add(-2 * time.Hour)
	d.Observe(telemetry.At("oven", "p", old).Event("gone", warning).Build())
	h.hears(t, "resolved gone")
	d.Observe(telemetry.At("oven", "q", old.Add(time.Hour)).Event("back", warning).Build())
	d.Observe(telemetry.At("oven", "r", old.Add(time.Minute)).Event("gone", warning).Build()) // overtaken
	d.heat(t, 12, "a")
	h.hears(t, "resolved gone; firing hot a")
}

func TestNobodySpeaksForNissa(t *testing.T) {
	d := start(t, quick+"rules: [{name: r, summary: s, severity: info, metric: nissa.bus.up, when: value < 1}]", nil, nil)
	d.Observe(telemetry.New("nissa", "p").Metric("nissa.bus.up", 0, "").Build())
	if got := d.Alerts(); len(got) != 0 {
		t.Errorf("alerts %+v", got)
	}
}

func TestRestartsLoseAndRepeatNothing(t *testing.T) {
	h, store := newHook(t), openStore(t, sqliteURL(t))
	d := start(t, text(h), store, nil)
	d.heat(t, 12, "a")
	h.hears(t, "firing hot a")
	silence, err := d.Silence(t.Context(), alert.Silence{Rule: "gone", Until: time.Now().Add(time.Hour), By: "me"})
	if err != nil {
		t.Fatal(err)
	}
	id := d.Alerts()[0].ID
	if _, err := d.Acknowledge(t.Context(), id, "me", "on it"); err != nil {
		t.Fatal(err)
	}
	d.stop()

	d = start(t, text(h), store, nil)
	eventually(t, "the alert is there again", func() bool { return len(d.Alerts()) > 0 })
	got := d.Alerts()
	if len(got) != 1 || got[0].State != alert.Firing || got[0].ID != id || got[0].Ack == nil || got[0].Ack.Comment != "on it" {
		t.Fatalf("alerts %+v", got)
	}
	if silences := d.Silences(); len(silences) != 1 || silences[0].ID != silence.ID {
		t.Errorf("silences %+v", silences)
	}
	d.heat(t, 12, "a")
	d.heat(t, 12, "b")
	h.hears(t, "firing hot a; firing hot b")
	d.heat(t, 1, "a")
	h.hears(t, "firing hot a; firing hot b; resolved hot a")
}

// What fired and could not be told before a kill is told afterwards.
func TestKillsLoseNothingThatWasWritten(t *testing.T) {
	h, store := newHook(t), openStore(t, sqliteURL(t))
	h.Down.Store(true)
	d := start(t, text(h), store, nil)
	d.heat(t, 12, "a")
	eventually(t, "the state is written", func() bool {
		judged, _, err := runstore.NewJournal(store).Judged(t.Context(), 0)
		return err == nil && strings.Contains(judged.State, `"firing"`)
	})
	d.kill()
	h.Down.Store(false)
	start(t, text(h), store, nil)
	h.hears(t, "firing hot a")
}

func TestStateThatCannotBeReadIsSetAside(t *testing.T) {
	for _, text := range []string{"{", `{"version": 7}`} {
		url := sqliteURL(t)
		store := openStore(t, url)
		token, _, err := runstore.NewJournal(store).TakeLead(t.Context(), runstore.Lead{}, "a")
		if err == nil {
			err = runstore.NewJournal(store).SaveJudged(t.Context(), token, &runstore.Judged{Version: 1, State: text})
		}
		if err != nil {
			t.Fatal(err)
		}
		d := start(t, quick, store, nil)
		eventually(t, "it judges", func() bool { return strings.Contains(shown(t, d.Desk), "nissa_alerts_judging 1") })
		d.stop()
		db, err := sql.Open("sqlite", strings.TrimPrefix(url, "sqlite:///"))
		if err != nil {
			t.Fatal(err)
		}
		var aside string
		if err := errors.Join(db.QueryRowContext(t.Context(), "SELECT aside FROM nissa_judged").Scan(&aside), db.Close()); err != nil || aside != text {
			t.Errorf("%q is set aside, want %q, error %v", aside, text, err)
		}
	}
}

func TestRulesAreReadAgain(t *testing.T) {
	h := newHook(t)
	d := start(t, text(h), nil, nil)
	d.heat(t, 12, "a")
	h.hears(t, "firing hot a")
	d.rules.Store("rules: [{name: hot}]")
	if err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a bad file: %v", err)
	}
	d.heat(t, 13, "b")
	h.hears(t, "firing hot a; firing hot b")
	d.rules.Store(strings.ReplaceAll(text(h), "value > 9", "value > 20"))
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.heat(t, 13, "b")
	h.hears(t, "firing hot a; firing hot b; resolved hot b")
	d.rules.Store(strings.ReplaceAll(text(h), "name: hot", "name: other"))
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.hears(t, "firing hot a; firing hot b; resolved hot b; resolved hot a")
}

func TestSilencedAlertsAreNotTold(t *testing.T) {
	h := newHook(t)
	d := start(t, text(h), nil, nil)
	silence, err := d.Silence(t.Context(), alert.Silence{Rule: "hot", Labels: map[string]string{"run": "a"}, Until: time.Now().Add(time.Hour), By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	d.heat(t, 12, "a")
	d.heat(t, 12, "b")
	h.hears(t, "firing hot b")
	if shown := d.Alerts(); len(shown) != 2 || len(shown[0].SilencedBy)+len(shown[1].SilencedBy) != 1 {
		t.Errorf("alerts %+v", shown)
	}
	if err := d.EndSilence(t.Context(), silence.ID, "bob"); err != nil {
		t.Fatal(err)
	}
	h.hears(t, "firing hot b; firing hot a")
	if _, err := d.Acknowledge(t.Context(), d.Alerts()[0].ID, "eve", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bus hears who asked", func() bool {
		return strings.Contains(d.said(), "silence_begun ann") && strings.Contains(d.said(), "silence_ended bob") &&
			strings.Contains(d.said(), "alert_acknowledged eve")
	})
	for name, err := range map[string]error{
		"unknown silence": d.EndSilence(t.Context(), "x", "me"),
		"over":            errOf(d.Silence(t.Context(), alert.Silence{Until: time.Now().Add(-time.Hour)})),
		"unknown alert":   errOf(d.Acknowledge(t.Context(), "x", "me", "")),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReceiversThatFailAreAnAlertForTheOthers(t *testing.T) {
	broken, works := newHook(t), newHook(t)
	broken.Down.Store(true)
	d := start(t, quick+fmt.Sprintf(`
receivers: [{name: broken, url: "%s/secret-path", per_minute: 6000}, {name: works, url: %q}]
rules:
- {name: hot, summary: s, severity: info, metric: heat, when: value > 9, receivers: broken}
- {name: failing, summary: s, severity: critical, metric: nissa.notifications.failed_in_a_row, by: receiver, when: value >= 2, receivers: works}
`, broken.URL, works.URL), nil, nil)
	d.heat(t, 12, "")
	works.hears(t, "firing failing")
	broken.Down.Store(false)
	works.hears(t, "firing failing; resolved failing")
	broken.hears(t, "firing hot")
}

func TestABusThatDoesNotAnswerIsAnAlert(t *testing.T) {
	h := newHook(t)
	var down atomic.Bool
	down.Store(true)
	probe := func(context.Context) error {
		if down.Load() {
			return errors.New("down")
		}
		return nil
	}
	start(t, quick+fmt.Sprintf(`
receivers: [{name: hook, url: %q}]
rules: [{name: bus_down, summary: s, severity: critical, metric: nissa.bus.up, sources: nissa, when: value < 1, receivers: hook}]
`, h.URL), nil, probe)
	h.hears(t, "firing bus_down")
	down.Store(false)
	h.hears(t, "firing bus_down; resolved bus_down")
}

func TestBudgetsThatBurnAreAnAlert(t *testing.T) {
	h := newHook(t)
	d := start(t, quick+fmt.Sprintf(`
receivers: [{name: hook, url: %q}]
objectives: [{name: fresh, summary: s, target: 0.9, window: 30d, metric: age, good: value < 5, receivers: hook}]
`, h.URL), nil, nil)
	for range 20 {
		d.Observe(telemetry.New("store", "p").Metric("age", 9, "").Build())
	}
	eventually(t, "it burns", func() bool { return strings.Contains(h.all(), "firing fresh") })
	status := d.Objectives()[0]
	if !status.Known || math.Abs(status.Left+9) > 1e-9 {
		t.Errorf("%+v", status)
	}
	if said := d.Alerts()[0].Detail; !strings.HasSuffix(said, "times too fast (over 5m)") {
		t.Errorf("it says %q", said)
	}
}

// Each series that is shown has a row, and the other way round once all was heard.
func TestSeriesAreThoseOfThePage(t *testing.T) {
	h := newHook(t)
	h.Down.Store(true)
	d := start(t, text(h)+"objectives: [{name: o, summary: s, target: 0.9, metric: heat, good: value < 5}]", nil, nil)
	d.heat(t, 12, "a")
	eventually(t, "a delivery fails", func() bool { return h.Down.Load() && strings.Contains(names(t, d.Desk), "nissa_notifications_total") })
	h.Down.Store(false)
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.hears(t, "firing hot a")
	eventually(t, "all series are shown", func() bool {
		shown := names(t, d.Desk)
		for _, row := range alerting.Series() {
			if !strings.Contains(shown, " "+row.Name+" ") {
				return false
			}
		}
		return len(strings.Fields(shown)) == len(alerting.Series())
	})
}

func names(t *testing.T, d *alerting.Desk) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(d)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := " "
	for _, family := range families {
		names += family.GetName() + " "
	}
	return names
}

// shown are the series that have no labels, with their values.
func shown(t *testing.T, d *alerting.Desk) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(d)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, family := range families {
		if one := family.GetMetric()[0]; len(one.GetLabel()) == 0 && one.GetGauge() != nil {
			fmt.Fprintln(&text, family.GetName(), one.GetGauge().GetValue())
		}
	}
	return text.String()
}

func TestRulesThatAreNotInOrderAreRefused(t *testing.T) {
	for _, bad := range []string{"rules: 3", "receivers: [{name: a, url: 'nothing://x'}]"} {
		_, err := alerting.New(alerting.Config{Read: func() ([]byte, string, error) { return []byte(bad), "", nil }})
		if err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if _, err := alerting.New(alerting.Config{Read: func() ([]byte, string, error) { return nil, "", errors.New("gone") }}); err == nil {
		t.Error("a file that is gone is taken")
	}
}

func shipped(t *testing.T) *desk {
	t.Helper()
	return start(t, string(rules.Default(rules.Thresholds{})), nil, nil)
}
