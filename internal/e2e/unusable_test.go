package e2e

import (
	"strings"
	"testing"
	"time"
)

// Nobody could publish after an entry with the largest id, a group that stood far ahead was
// never given anything, and the service said that it was well.
func TestStreamThatCannotBeUsedIsTold(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ stream, says string }{
		"full":  {streamNormal, "RENAME " + streamNormal},
		"ahead": {streamRequests, "XGROUP SETID " + streamRequests},
	} {
		t.Run(name, func(t *testing.T) {
			begin(t)
			w := newWorld(t)
			w.environ = append(w.environ, "TEZZERET_FORGE_ON_START=false")
			w.boot()
			broken := time.Now()
			if name == "full" {
				w.bus.do("XADD", row.stream, "18446744073709551615-18446744073709551615", "a", "b")
			} else {
				w.bus.do("XGROUP", "SETID", row.stream, group, "99999999999999-0")
			}
			w.request("unread", missing)
			w.mustTell("stream_unusable", row.says)
			took(t, "place lost", "a stream that cannot be used to /readyz 503 and the alarm", time.Since(broken), 0)
			p := launch(t, w.second().folder, w.environ, service, "--check")
			if code, _ := p.exit(patience); code != 3 || !strings.Contains(p.stdout.String()+p.stderr.String(), row.says) {
				t.Errorf("--check: %d, %s", code, p.stdout.String())
			}
			if name == "full" {
				w.bus.do("RENAME", row.stream, "spoilt")
			} else {
				w.bus.do("XGROUP", "SETID", row.stream, group, "0")
			}
			w.ready()
			w.await("unread", patience)
			w.bus.do(reportCommand("after")...)
			eventually(t, "a report is taken", patience, func() bool { return w.knows("after") })
			w.stop()
		})
	}
}
