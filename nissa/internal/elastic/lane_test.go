package elastic

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
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

// Earlier versions had one spool of all indices.
func TestSpoolOfAllIndicesIsSentAfterAnUpgrade(t *testing.T) {
	server := elastictest.Start(t)
	c := config(t, server)
	var all bytes.Buffer
	for n := range 10 {
		for index, m := range map[string]*runs.Message{telemetryIndex: numbered(n), simicIndex: ofSimic(n)} {
			text, err := linesOf(index, m)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	for name, text := range map[string]string{
		"00000000000000000003": all.String(), "00000000000000000004": all.String(), // a process was killed meanwhile
		"00000000000000000005": lineA + lineB[:len(lineB)-4],
		"00000000000000000006": strings.ReplaceAll(lineA, "telemetry", "elsewhere"),
	} {
		if err := os.WriteFile(filepath.Join(c.Dir, name+suffix), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.MaxBytes = 2 << 10 // less than what is there: it has its room
	x := open(t, c)
	if left, err := filepath.Glob(filepath.Join(c.Dir, "*"+suffix)); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	started(t, x)
	eventually(t, "all are sent", func() bool { return idle(x) })
	if telemetry, simic := len(server.Documents("telemetry")), len(server.Documents("simic_metrics")); telemetry != 11 || simic != 10 {
		t.Errorf("%d and %d documents are there", telemetry, simic)
	}
	if dropped := labelled(t, x, "nissa_bulk_dropped_total"); dropped["unknown"] != 2 {
		t.Errorf("dropped %v", dropped)
	}
	keep(x, 10, 11)
	eventually(t, "there is room again", func() bool { return len(server.Documents("telemetry")) == 12 })
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
