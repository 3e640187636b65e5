package elastic

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/elastictest"
)

// Nobody waits for a server that is away, and what is dropped for want of room is told.
func TestN10NobodyWaitsForAServerThatIsAway(t *testing.T) {
	server := elastictest.Start(t)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	server.Refuse(func(*http.Request) (int, string) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-release
		return 0, ""
	})
	log := &lines{}
	c := config(t, server)
	c.MaxBytes, c.Batch, c.Logger = 16<<10, 4<<10, slog.New(slog.NewTextHandler(log, nil))
	x := open(t, c)
	keep(x, 0, 1)
	stop := started(t, x)
	<-asked
	keep(x, 1, 1000) // the server hangs meanwhile
	dropped := shows(t, x, "nissa_bulk_dropped_total")
	documents, size := x.lanes["telemetry"].spool.waiting()
	if dropped == 0 || documents != 1000-int(dropped) || size > c.MaxBytes {
		t.Errorf("%v dropped, %d wait with %d bytes", dropped, documents, size)
	}
	close(release)
	eventually(t, "the spool is empty", func() bool { return idle(x) })
	keep(x, 1000, 1001)
	eventually(t, "the spool is empty", func() bool { return idle(x) })
	stop()
	if n := len(server.Documents("telemetry")); n != documents+1 {
		t.Errorf("%d documents are there of %d", n, documents+1)
	}
	if strings.Count(log.String(), "are dropped") != 1 || !strings.Contains(log.String(), fmt.Sprintf("find room again\" index=telemetry dropped=%d", int(dropped))) {
		t.Errorf("the log says:\n%s", log)
	}
	mustBeStrict(t, server)
}

func TestWhatWaitsOutlivesTheProcess(t *testing.T) {
	server := elastictest.Start(t)
	c := config(t, server)
	c.Batch = 1 << 10
	x := open(t, c)
	keep(x, 0, 50)
	if _, err := Open(c); err == nil {
		t.Fatal("two processes have one spool")
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(c.Dir, "telemetry", "*"+suffix))
	if err != nil || len(files) < 5 {
		t.Fatalf("files %v, %v", files, err)
	}
	last, err := os.OpenFile(files[len(files)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.WriteString(lineA[:len(lineA)-4]); err != nil || last.Close() != nil {
		t.Fatal(err)
	}
	y := open(t, c)
	keep(y, 50, 60)
	if waits := shows(t, y, "nissa_bulk_waiting_documents"); waits != 61 {
		t.Errorf("%v wait, with the torn one", waits)
	}
	started(t, y)
	eventually(t, "all are sent", func() bool { return idle(y) })
	if n := len(server.Documents("telemetry")); n != 60 || shows(t, y, "nissa_bulk_dropped_total") != 1 {
		t.Errorf("%d documents are there, %v dropped", n, shows(t, y, "nissa_bulk_dropped_total"))
	}
	mustBeStrict(t, server)
}

// A process that is stopped before the answer sends its file again: by their ids they are there once.
func TestN11AFileThatIsSentAgainMakesNoDuplicates(t *testing.T) {
	server := elastictest.Start(t)
	c := config(t, server)
	x := open(t, c)
	keep(x, 0, 50)
	lane := x.lanes["telemetry"]
	for range 2 {
		file, _ := lane.spool.oldest()
		text, err := lane.spool.read(file)
		if err != nil {
			t.Fatal(err)
		}
		items, _ := itemsOf(text)
		if !lane.send(t.Context(), items) {
			t.Fatal("not sent")
		}
	}
	if again, _ := server.Repeated(); again != 50 || len(server.Documents("telemetry")) != 50 {
		t.Errorf("%d came again, %d are there", again, len(server.Documents("telemetry")))
	}
	if shows(t, x, "nissa_bulk_failed_total") != 0 {
		t.Error("what is there already counts as failed")
	}
	mustBeStrict(t, server)
}

func TestDiskThatFailsDropsAndTells(t *testing.T) {
	server := elastictest.Start(t)
	c := config(t, server)
	x := open(t, c)
	if err := os.RemoveAll(c.Dir); err != nil {
		t.Fatal(err)
	}
	keep(x, 0, 3)
	if dropped := shows(t, x, "nissa_bulk_dropped_total"); dropped != 3 {
		t.Errorf("%v dropped", dropped)
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, "telemetry"), 0o700); err != nil {
		t.Fatal(err)
	}
	keep(x, 3, 6)
	started(t, x)
	eventually(t, "the others are sent", func() bool { return idle(x) && len(server.Documents("telemetry")) == 3 })
}
