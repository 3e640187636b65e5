package alerting_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/hooktest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alerting"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
	"github.com/esper-lite/weatherlight/telemetry"
)

const warning = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING

// hook is a webhook of which a test knows what it was told.
type hook struct{ *hooktest.Hook }

func newHook(t *testing.T) *hook {
	t.Helper()
	return &hook{hooktest.New(t)}
}

func (h *hook) all() string {
	var told []string
	for _, a := range h.Told() {
		told = append(told, strings.TrimSpace(a.Status+" "+a.Labels["alertname"]+" "+a.Labels["run"]))
	}
	return strings.Join(told, "; ")
}

func (h *hook) hears(t *testing.T, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the webhook hears %q", want), func() bool { return h.all() == want })
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

const quick = "grouping: {wait: 10ms, interval: 10ms}\n"

// text is a file of one rule, told to a hook.
func text(h *hook) string {
	return quick + fmt.Sprintf(`
receivers: [{name: hook, url: %q, per_minute: 6000}]
rules:
- {name: hot, summary: It is hot, severity: warning, metric: heat, by: run, when: value > 9, receivers: hook}
- {name: gone, summary: Something happened, severity: info, event: gone, quiet: 1h, clear: back, receivers: hook}
`, h.URL)
}

// desk runs one until stop, or the end of the test.
type desk struct {
	*alerting.Desk

	store *severable   // nil: it shares none
	rules atomic.Value // string
	stop  func()
	said  func() string
	ahead atomic.Int64 // by which its clock is wrong
}

// severable is a store that a desk can be cut off from, as a kill does.
type severable struct {
	*runstore.Journal

	runs    *runstore.Store
	largest atomic.Int64 // bytes that were judged at a time
	deaf    atomic.Bool  // it takes no state, and says that it does
	cut     atomic.Bool
}

func (s *severable) sever() { s.cut.Store(true) }

func (s *severable) mend() { s.cut.Store(false) }

func (s *severable) whole() error {
	if s.cut.Load() {
		return errors.New("killed")
	}
	return nil
}

func (s *severable) Lead(ctx context.Context) (runstore.Lead, error) {
	lead, err := s.Journal.Lead(ctx)
	return lead, errors.Join(err, s.whole())
}

func (s *severable) SaveJudged(ctx context.Context, token int64, judged *runstore.Judged) error {
	if err := s.whole(); err != nil {
		return err
	}
	if s.deaf.Load() {
		judged = nil
	}
	return s.Journal.SaveJudged(ctx, token, judged)
}

func (s *severable) LeaveLead(ctx context.Context, token int64) error {
	if err := s.whole(); err != nil {
		return err
	}
	return s.Journal.LeaveLead(ctx, token)
}

func (s *severable) Unjudged(ctx context.Context, after int64) ([]runs.Unjudged, bool, error) {
	entries, more, err := s.Journal.Unjudged(ctx, after)
	bytes := int64(0)
	for _, e := range entries {
		bytes += int64(len(e.Body))
	}
	s.largest.Store(max(s.largest.Load(), bytes))
	return entries, more, errors.Join(err, s.whole())
}

func openStore(t *testing.T, url string) *runstore.Store {
	t.Helper()
	store, err := runstore.Open(t.Context(), runstore.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func sqliteURL(t *testing.T) string { return "sqlite:///" + filepath.Join(t.TempDir(), "runs.db") }

func start(t *testing.T, text string, store *runstore.Store, probe func(context.Context) error) *desk {
	t.Helper()
	return startAs(t, "a", text, store, probe)
}

func startAs(t *testing.T, name, text string, store *runstore.Store, probe func(context.Context) error) *desk {
	t.Helper()
	return startWith(t, alerting.Config{Name: name, Probe: probe}, text, store)
}

func startWith(t *testing.T, config alerting.Config, text string, store *runstore.Store) *desk {
	t.Helper()
	d := &desk{}
	d.rules.Store(text)
	var mu sync.Mutex
	var said []string
	d.said = func() string { mu.Lock(); defer mu.Unlock(); return strings.Join(said, "; ") }
	config.Read = func() ([]byte, string, error) { return []byte(d.rules.Load().(string)), "", nil }
	config.Now = func() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) }
	config.Tell = func(_ context.Context, packet *leyline.TelemetryPacket) error {
		event := packet.GetEvents()[0]
		mu.Lock()
		defer mu.Unlock()
		said = append(said, strings.TrimSpace(event.GetDescription()+" "+event.GetAttributes()["by"]))
		return nil
	}
	config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	if d.Desk, err = alerting.New(config); err != nil {
		t.Fatal(err)
	}
	if store != nil {
		d.store = &severable{Journal: runstore.NewJournal(store), runs: store}
		d.Share(d.store)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	d.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(d.stop)
	return d
}

func (d *desk) heat(t *testing.T, value float64, run string) {
	t.Helper()
	d.hear(t, telemetry.New("oven", "p").Metric("heat", value, "", "run", run).Build())
}

// hear takes a packet as a service does: by way of the store, if there is one.
func (d *desk) hear(t *testing.T, packet *leyline.TelemetryPacket) {
	t.Helper()
	if d.store == nil {
		d.Observe(packet)
		return
	}
	body, err := d.Unjudged(packet)
	if err == nil {
		_, err = d.store.runs.Put(t.Context(), []runs.Message{{Stream: "s", Payload: packet, At: time.Now(), Judge: body}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// kill stops a desk without a word to the others.
func (d *desk) kill() {
	d.store.sever()
	d.stop()
}

func errOf[T any](_ T, err error) error { return err }
