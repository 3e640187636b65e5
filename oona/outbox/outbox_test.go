package outbox_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/signing"
)

// childFile makes this binary the process that is killed in TestPutSurvivesAKill.
var childFile = flag.String("outbox-child", "", "file to put messages into until killed")

func TestMain(m *testing.M) {
	flag.Parse()
	if *childFile != "" {
		putForever(*childFile)
	}
	goleak.VerifyTestMain(m)
}

func putForever(file string) {
	box, err := outbox.Open(context.Background(), outbox.Config{File: file, Capacity: 1 << 20})
	for n := 0; err == nil; n++ {
		if err = box.Put(context.Background(), report(fmt.Sprint(n))); err == nil {
			fmt.Println(n) // acknowledged
		}
	}
	panic(err)
}

func report(id string) oona.Message { return oona.Message{Payload: &leyline.FieldReport{ReportId: id}} }

func open(t *testing.T, cfg outbox.Config) *outbox.Outbox {
	t.Helper()
	if cfg.File == "" {
		cfg.File = filepath.Join(t.TempDir(), "sub", "outbox.db")
	}
	if cfg.Pause == 0 {
		cfg.Pause = 5 * time.Millisecond
	}
	box, err := outbox.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	return box
}

func put(t *testing.T, box *outbox.Outbox, msgs ...oona.Message) {
	t.Helper()
	if err := box.Put(context.Background(), msgs...); err != nil {
		t.Fatal(err)
	}
}

// run drains until the test ends.
func run(t *testing.T, box *outbox.Outbox, bus outbox.Publisher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := box.Run(ctx, bus); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func drained(box *outbox.Outbox) func() bool {
	return func() bool {
		waiting, _, err := box.Waiting(context.Background())
		return err == nil && waiting == 0
	}
}

// fakeBus notes what was published, and fails as it is told.
type fakeBus struct {
	mu   sync.Mutex
	got  []string
	fail func(id string) error
}

func (f *fakeBus) Publish(_ context.Context, msgs ...oona.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range msgs {
		id := "signal"
		if r, ok := m.Payload.(*leyline.FieldReport); ok {
			id = r.GetReportId()
		}
		if m.Once == "" {
			return errors.New("the message has no name")
		}
		if f.fail != nil {
			if err := f.fail(id); err != nil {
				return err
			}
		}
		f.got = append(f.got, id)
	}
	return nil
}

func TestOrderIsKeptThroughAnOutage(t *testing.T) {
	t.Parallel()
	box := open(t, outbox.Config{})
	var want []string
	for n := range 250 {
		want = append(want, fmt.Sprint(n))
		put(t, box, report(want[n]))
	}
	calls := 0
	bus := &fakeBus{fail: func(string) error {
		if calls++; calls%7 == 0 {
			return oona.ErrUnavailable
		}
		return nil
	}}
	run(t, box, bus)
	eventually(t, "everything is published", drained(box))
	bus.mu.Lock()
	defer bus.mu.Unlock()
	if diff := cmp.Diff(want, bus.got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestHopelessMessageDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	box := open(t, outbox.Config{})
	put(t, box, report("huge"), report("small"))
	bus := &fakeBus{fail: func(id string) error {
		if id == "huge" {
			return fmt.Errorf("publish: %w", oona.ErrTooLarge)
		}
		return nil
	}}
	run(t, box, bus)
	eventually(t, "the good one is published", drained(box))
	if _, refused, err := box.Waiting(context.Background()); refused != 1 || err != nil {
		t.Errorf("%d refused messages are kept, %v", refused, err)
	}
}

func TestOverloadedStreamDoesNotHoldUpSignals(t *testing.T) {
	t.Parallel()
	box := open(t, outbox.Config{})
	for n := range 150 {
		put(t, box, report(fmt.Sprint(n)))
	}
	put(t, box, oona.Message{Payload: &leyline.EmergencySignal{}})
	bus := &fakeBus{fail: func(id string) error {
		if id != "signal" {
			return oona.ErrOverloaded
		}
		return nil
	}}
	run(t, box, bus)
	eventually(t, "the signal is published", func() bool {
		bus.mu.Lock()
		defer bus.mu.Unlock()
		return len(bus.got) == 1 && bus.got[0] == "signal"
	})
}

func TestFullOutboxSaysSoAndTakesAllOrNone(t *testing.T) {
	t.Parallel()
	box := open(t, outbox.Config{Capacity: 3})
	put(t, box, report("1"), report("2"))
	if err := box.Put(context.Background(), report("3"), report("4")); !errors.Is(err, outbox.ErrFull) {
		t.Errorf("Put = %v, want ErrFull", err)
	}
	if err := box.Put(context.Background(), oona.Message{}); !errors.Is(err, oona.ErrNotPublishable) {
		t.Errorf("Put of nothing = %v, want ErrNotPublishable", err)
	}
	signal := oona.Message{Payload: &leyline.EmergencySignal{Reason: "another"}}
	if err := box.Put(context.Background(), signal); err != nil {
		t.Errorf("Put of another type = %v", err)
	}
	if waiting, _, err := box.Waiting(context.Background()); waiting != 3 || err != nil {
		t.Errorf("%d are waiting, %v", waiting, err)
	}
}

func TestPutSurvivesAKill(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "outbox.db")
	child := exec.Command(os.Args[0], "-outbox-child="+file)
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	acknowledged := 0
	for acknowledged < 50 && lines.Scan() {
		acknowledged++
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // what it said before it died
		acknowledged++
	}
	_ = child.Wait() // its exit status is the signal
	box := open(t, outbox.Config{File: file, Capacity: 1 << 20})
	bus := &fakeBus{}
	run(t, box, bus)
	eventually(t, "everything is published", drained(box))
	bus.mu.Lock()
	defer bus.mu.Unlock()
	if len(bus.got) < acknowledged || strings.Join(bus.got[:3], " ") != "0 1 2" {
		t.Errorf("%d acknowledged, %d published: %v", acknowledged, len(bus.got), bus.got)
	}
}

// A bus that stores a message and is gone before it says so gets it again; a
// consumer takes it once.
type forgetful struct {
	*oona.Client
	mu   sync.Mutex
	seen map[string]bool
}

func (f *forgetful) Publish(ctx context.Context, msgs ...oona.Message) error {
	if err := f.Client.Publish(ctx, msgs...); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if name := msgs[0].Once; !f.seen[name] {
		f.seen[name] = true
		return fmt.Errorf("%w: connection lost", oona.ErrUnavailable)
	}
	return nil
}

func TestConsumersTakeEachMessageOnce(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(t *testing.T) string{
		"redis": func(t *testing.T) string { return redistest.Start(t).URL },
		"broker": func(t *testing.T) string {
			b, err := embedded.Start(embedded.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			return b.URL()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			takeOnce(t, connect(t, url(t)))
		})
	}
}

func connect(t *testing.T, url string) *oona.Client {
	t.Helper()
	ring, err := signing.NewKeyring("test-secret")
	if err != nil {
		t.Fatal(err)
	}
	c, err := oona.Connect(context.Background(), oona.Config{URL: url, Group: "g", Keyring: ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func takeOnce(t *testing.T, c *oona.Client) {
	t.Helper()
	box := open(t, outbox.Config{})
	for n := range 20 {
		put(t, box, report(fmt.Sprint(n)))
	}
	stop := run(t, box, &forgetful{Client: c, seen: make(map[string]bool)})
	eventually(t, "everything is published", drained(box))
	stop()
	got := make(map[string]int)
	var mu sync.Mutex
	fetch, end := context.WithCancel(context.Background())
	var consuming sync.WaitGroup
	consuming.Go(func() {
		_ = c.Consume(fetch, context.Background(), oona.Subscription{Stream: oona.DefaultStreams().Normal,
			Handlers: map[leyline.BusMessageType]oona.Handler{leyline.BusMessageType_BUS_MESSAGE_TYPE_FIELD_REPORT: func(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
				mu.Lock()
				defer mu.Unlock()
				got[d.Payload.(*leyline.FieldReport).GetReportId()]++
				return nil, nil
			}}})
	})
	eventually(t, "the duplicates are dropped", func() bool { return len(c.Drops()) == 1 && c.Drops()[0].Count == 20 })
	end()
	consuming.Wait()
	if len(got) != 20 || got["0"] != 1 || got["19"] != 1 {
		t.Errorf("taken: %v", got)
	}
}
