package control_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// tell gives the bus a command of Redis whose answer is OK.
func tell(t *testing.T, address, command string) {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", parsed.Host, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	words := strings.Fields(command)
	request := fmt.Sprintf("*%d\r\n", len(words))
	for _, word := range words {
		request += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := fmt.Fprint(conn, request); err != nil {
		t.Fatal(err)
	}
	if reply, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(reply, "+OK") {
		t.Fatalf("%s: %s, %v", command, reply, err)
	}
}

// Otherwise nothing would ever come due again, and nobody would know.
func TestWorkerFailsWhenTheIndexOfDueTimesCannotBeUsed(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a")
		tell(t, url, "SET weatherlight:kasmina:due nonsense")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := o.Run(ctx); err == nil || !strings.Contains(err.Error(), "due runs") {
			t.Errorf("the worker ended with %v", err)
		}
	})
}

// hasty are records that give an outage up early, and count the looks at the index that
// failed.
type hasty struct {
	*oona.Records

	failed atomic.Int64
}

func newHasty(t *testing.T, url string) *hasty {
	t.Helper()
	bus := client(t, oona.Config{URL: url, Consumer: "hasty", DialTimeout: 200 * time.Millisecond})
	return &hasty{Records: bus.Records(trainer.Stream)}
}

func (h *hasty) between(c *control.Config) { c.Records, c.Awaits = h, h }

func (h *hasty) Due(ctx context.Context, part string, now time.Time, limit int, hold time.Duration) ([]oona.DueRun, error) {
	due, err := h.Records.Due(ctx, part, now, limit, hold)
	if err != nil {
		h.failed.Add(1)
	}
	return due, err
}

// The bus has an alarm of its own.
func TestWorkerOutlivesAnOutage(t *testing.T) {
	server := redistest.Start(t, redistest.AOF()...)
	index := newHasty(t, server.URL)
	o := open(t, server.URL, "a", index.between)
	o.hear("run-1")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	server.Kill()
	eventually(t, "the index cannot be read", func() bool { return index.failed.Load() > 1 })
	server.Restart()
	eventually(t, "the bus is back", func() bool { return o.bus.Ping(t.Context()) == nil })
	o.do(o.command("germinate", "run-1", germinating("seed-1")))
	eventually(t, "the worker goes on: a kernel that does not come is asked for again", func() bool {
		return o.counters()["kasmina.prefetch.requests_total timeout"] > 0
	})
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

// In a cluster the node with the records may be away while that with the index is not.
func TestWorkerOutlivesRunsThatCannotBeSaved(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		store, later, failed := &shaky{}, &clock{}, new(atomic.Int64)
		o := open(t, url, "a", store.between, later.ahead)
		const runs = 150 // more than one look takes up
		for i := range runs {
			o.hear(fmt.Sprint("run-", i))
		}
		store.fails = func(oona.RecordWrite) error {
			failed.Add(1)
			return fmt.Errorf("save: %w", oona.ErrUnavailable)
		}
		later.passed = 20 * time.Minute // all of them fall silent
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		eventually(t, "every run was looked at", func() bool { return failed.Load() >= runs })
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
}
