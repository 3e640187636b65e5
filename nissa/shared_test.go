package nissa

import (
	"fmt"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
)

// toldOn are the lines of /metrics that come from what sources told last.
func toldOn(r *running) (lines []string) {
	for line := range strings.Lines(metrics(r)) {
		if strings.HasPrefix(line, "told_") || strings.HasPrefix(line, "tamiyo_") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// Each of several Nissas takes a part of what is told. All show what was said last, also one that comes later.
func TestNissasThatShareAStoreShowTheSameSeries(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, store string) {
		url := redistest.Start(t).URL
		start := func(name string) *running {
			return runWith(t, Config{Bus: connectAs(t, url, secret, name), Name: name, Store: Store{URL: store}}).ready()
		}
		nissas := []*running{start("first"), start("second")}
		sender, rounds := connectAs(t, url, secret, "sender"), 0
		agree := func() {
			t.Helper()
			rounds++
			var last string
			for n := range 60 {
				p := packet("oven").Metric("told.value", float64(100*rounds+n), "count", "a", "x\x00b\x00y").Metric(fmt.Sprint("told.once.", rounds, "_", n), 1, "count")
				last = fmt.Sprint(100*rounds + n)
				publish(t, sender.PublishTelemetry(t.Context(), p.Build(), leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL))
			}
			risky := packet("tamiyo").Metric("tamiyo.blueprint.risk", float64(rounds%2), "")
			publish(t, sender.PublishTelemetry(t.Context(), risky.Build(), leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL))
			for i, r := range nissas {
				r.eventually(fmt.Sprintf("what was said last, at %d", i), func() bool {
					shown := strings.Join(toldOn(r), "\n") + "\n"
					return strings.Contains(shown, "} "+last+"\n") && strings.Contains(shown, fmt.Sprint("tamiyo_bsds_elevated_risk ", rounds%2, "\n")) &&
						strings.Count(shown, "told_once_") == 60*rounds
				})
			}
		}
		agree()
		agree()
		nissas = append(nissas, start("third"))
		agree()
		nissas[0].stop()
		nissas = nissas[1:]
		agree()
	}
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, sqliteURL(t)) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); test(t, pgtest.Start(t).URL("")) })
}
