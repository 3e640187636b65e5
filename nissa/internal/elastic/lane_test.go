package elastic

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esper-lite/weatherlight/internal/elastictest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

func ofSimic(n int) *runs.Message {
	m := numbered(n)
	m.Payload.(*leyline.TelemetryPacket).SourceSubsystem = "simic"
	return m
}

// One index that is blocked, as by a disk that is nearly full, held up the others and took their room.
func TestIndexThatIsBlockedLosesItsOwnDocumentsAlone(t *testing.T) {
	server := elastictest.Start(t)
	var unblocked atomic.Bool
	server.RefuseItems(func(index, _ string) (int, string) {
		if index == "simic_metrics" && !unblocked.Load() {
			return 403, "cluster_block_exception"
		}
		return 0, ""
	})
	log := &lines{}
	c := config(t, server)
	c.MaxBytes, c.Batch, c.Logger = 64<<10, 1<<10, slog.New(slog.NewTextHandler(log, nil))
	x := open(t, c)
	started(t, x)
	for n := range 2000 {
		x.Keep(ofSimic(n))
	}
	for n := range 20 { // many times what telemetry has for itself
		keep(x, 20*n, 20*n+20)
		eventually(t, "telemetry is taken", func() bool { return len(server.Documents("telemetry")) == 20*n+20 })
	}
	dropped := labelled(t, x, "nissa_bulk_dropped_total")
	waits := labelled(t, x, "nissa_bulk_waiting_documents")["simic_metrics"]
	if dropped["simic_metrics"] == 0 || dropped["simic_metrics"]+waits != 2000 || dropped["telemetry"] != 0 {
		t.Errorf("dropped %v, %v documents of simic_metrics wait", dropped, waits)
	}
	if size := labelled(t, x, "nissa_bulk_waiting_bytes")["simic_metrics"]; size < 48<<10 || size > 60<<10 {
		t.Errorf("it has %v bytes of %d", size, c.MaxBytes)
	}
	unblocked.Store(true)
	eventually(t, "it is taken", func() bool { return len(server.Documents("simic_metrics")) == int(waits) })
	for _, said := range []string{"wait\" index=simic_metrics", "are dropped\" index=simic_metrics"} {
		if strings.Count(log.String(), said) != 1 {
			t.Errorf("the log does not say %q once:\n%s", said, log)
		}
	}
	mustBeStrict(t, server)
}

// lines is a log that several may write to.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
