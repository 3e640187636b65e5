package alerting_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
)

// again has a desk go by another file: by a SIGHUP, or by a restart.
func again(t *testing.T, d *desk, file string, restart bool) *desk {
	t.Helper()
	if restart {
		d.stop()
		return start(t, file, d.store.runs, nil)
	}
	d.rules.Store(file)
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// onEachWay runs a test with a file that is read again, and with one that a restart reads.
func onEachWay(t *testing.T, test func(t *testing.T, restart bool)) {
	t.Parallel()
	t.Run("SIGHUP", func(t *testing.T) { t.Parallel(); test(t, false) })
	t.Run("restart", func(t *testing.T) { t.Parallel(); test(t, true) })
}

// Who becomes a receiver while something fires is told so, and hears of its end. Who is none any more
// hears of the end of what it knows, and of nothing else.
func TestReceiversThatAreNamedLateAreToldWhatFires(t *testing.T) {
	onEachWay(t, func(t *testing.T, restart bool) {
		chat, pager := newHook(t), newHook(t)
		file := func(receivers string) string {
			return quick + fmt.Sprintf(`
receivers: [{name: chat, url: %q, per_minute: 6000}, {name: pager, url: %q, per_minute: 6000}]
rules: [{name: hot, summary: s, severity: info, metric: heat, by: run, when: value > 9, receivers: [%s]}]
`, chat.URL, pager.URL, receivers)
		}
		d := start(t, file("chat"), openStore(t, sqliteURL(t)), nil)
		d.heat(t, 12, "a")
		chat.hears(t, "firing hot a")
		d = again(t, d, file("chat, pager"), restart)
		pager.hears(t, "firing hot a")
		d = again(t, d, file("pager"), restart)
		d.heat(t, 12, "b")
		pager.hears(t, "firing hot a; firing hot b")
		d.heat(t, 1, "a")
		pager.hears(t, "firing hot a; firing hot b; resolved hot a")
		chat.hears(t, "firing hot a; resolved hot a")
	})
}

// What a file looks at no more ends when it is read, and what it looks at still fires on.
func TestSubjectsThatAFileDoesNotHaveEnd(t *testing.T) {
	onEachWay(t, func(t *testing.T, restart bool) {
		for name, change := range map[string][2]string{
			"told apart by something else": {"by: run", "by: [run, zone]"}, "another metric": {"metric: heat", "metric: cold"},
			"another source": {"sources: oven", "sources: stove"}, "another label": {"run: [a, b]", "run: b"},
			"another label by which nothing is told apart": {"run: [a, b]", "run: [a, b], zone: x"},
		} {
			h := newHook(t)
			file := quick + fmt.Sprintf(`
receivers: [{name: hook, url: %q, per_minute: 6000}]
rules:
- {name: hot, summary: s, severity: info, metric: heat, sources: oven, match: {run: [a, b]}, by: run, when: value > 9, receivers: hook}
- {name: warm, summary: s, severity: info, metric: heat, by: run, when: value > 8}
`, h.URL)
			d := start(t, file, openStore(t, sqliteURL(t)), nil)
			d.heat(t, 12, "a")
			h.hears(t, "firing hot a")
			d = again(t, d, strings.Replace(file, change[0], change[1], 1), restart)
			h.hears(t, "firing hot a; resolved hot a")
			if got := d.seen(t); got != "warm a firing" {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}

// A file that only asks for something else of what it looks at ends nothing.
func TestSubjectsThatAFileStillHasFireOn(t *testing.T) {
	onEachWay(t, func(t *testing.T, restart bool) {
		h := newHook(t)
		d := start(t, text(h), openStore(t, sqliteURL(t)), nil)
		d.heat(t, 12, "a")
		h.hears(t, "firing hot a")
		d = again(t, d, strings.NewReplacer("value > 9", "value > 8", "by: run", "by: run, sources: [stove, oven]").Replace(text(h)), restart)
		d.heat(t, 12, "b")
		h.hears(t, "firing hot a; firing hot b")
	})
}

// A receiver that is renamed, or whose URL is taken out, fails no more.
func TestReceiversThatAreGoneFailNoMore(t *testing.T) {
	onEachWay(t, func(t *testing.T, restart bool) {
		broken, works := newHook(t), newHook(t)
		broken.Down.Store(true)
		file := quick + fmt.Sprintf(`
receivers: [{name: old, url: %q, per_minute: 6000}, {name: works, url: %q, per_minute: 6000}]
rules:
- {name: hot, summary: s, severity: info, metric: heat, when: value > 9, receivers: old}
- {name: failing, summary: s, severity: info, metric: nissa.notifications.failed_in_a_row, by: receiver, when: value >= 2, receivers: works}
`, broken.URL, works.URL)
		d := start(t, file, openStore(t, sqliteURL(t)), nil)
		d.heat(t, 12, "a")
		works.hears(t, "firing failing")
		broken.Down.Store(false)
		d = again(t, d, strings.NewReplacer("name: old", "name: new", "receivers: old", "receivers: new").Replace(file), restart)
		broken.hears(t, "firing hot")
		works.hears(t, "firing failing; resolved failing")
		for _, a := range d.Alerts() {
			if a.Rule == "failing" && a.State == alert.Firing {
				t.Errorf("%+v", a)
			}
		}
	})
}
