package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/telemetry"
)

const (
	rowAlertP50   = "nissa_alert_p50_ms"
	rowAlertP99   = "nissa_alert_p99_ms"
	rowScrape     = "nissa_scrape_10k_ms"
	rowManySeries = "nissa_100k_series_mb"

	// alertDatabase is the one of Redis that a Nissa has for itself.
	alertDatabase = 14
)

func alertRows() []row {
	return []row{
		{rowAlertP50, "ms", lower, nil}, {rowAlertP99, "ms", lower, nil},
		{rowScrape, "ms", lower, nil}, {rowManySeries, "MiB", lower, nil},
	}
}

// measureAlerts takes how soon a receiver hears of what was published, how long a scrape takes,
// and what series cost.
func measureAlerts(ctx context.Context, b *bench) error {
	for i := range b.runs {
		if b.table.wants(rowAlertP50, rowAlertP99) {
			if err := b.measureAlertRun(ctx, fmt.Sprintf("alerts-%d", i)); err != nil {
				return err
			}
		}
		if err := b.measureSeries(ctx, fmt.Sprintf("series-%d", i), 10_000, rowScrape); err != nil {
			return err
		}
		if err := b.measureSeries(ctx, fmt.Sprintf("many-%d", i), 100_000, rowManySeries); err != nil {
			return err
		}
	}
	return nil
}

// watcher is a Nissa in this process, and who sends to it.
type watcher struct {
	service     *nissa.Service
	sender, bus *oona.Client
	stop        func() error
}

func (b *bench) startWatcher(ctx context.Context, group string, config nissa.Config) (*watcher, error) {
	keys, err := signing.NewKeyring(secret)
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("redis://%s/%d", b.redis.addr, alertDatabase)
	open := func(group string) (*oona.Client, error) {
		return oona.Connect(ctx, oona.Config{URL: url, Group: group, Consumer: "bench", Keyring: keys})
	}
	w := &watcher{}
	if w.sender, err = open("sender"); err != nil {
		return nil, err
	}
	if w.bus, err = open(group); err != nil {
		return nil, errors.Join(err, w.sender.Close())
	}
	config.Bus, config.Group, config.HTTPAddr = w.bus, group, "127.0.0.1:0"
	if w.service, err = nissa.New(config); err != nil {
		return nil, errors.Join(err, w.sender.Close(), w.bus.Close())
	}
	serving, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.service.Run(serving) }()
	w.stop = func() error {
		cancel()
		return errors.Join(<-ended, w.sender.Close(), w.bus.Close())
	}
	if err := poll(ctx, w.ready); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *watcher) ready(ctx context.Context) error {
	_, err := w.get(ctx, "/readyz")
	return err
}

func (w *watcher) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.service.Addr()+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", path, response.Status)
	}
	return string(body), err
}

func (w *watcher) publish(ctx context.Context, packet *leyline.TelemetryPacket) error {
	return w.sender.PublishTelemetry(ctx, packet, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL)
}

// arrivals are when a webhook heard of which alert.
type arrivals struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (a *arrivals) take(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	var body struct {
		Alerts []struct{ Labels map[string]string }
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range body.Alerts {
		a.at[one.Labels["alertname"]] = now
	}
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.at)
}

// measureAlertRun raises as many rules as there are alerts: those of one rule would be grouped.
// Times are those of the shipped file.
func (b *bench) measureAlertRun(ctx context.Context, group string) error {
	n := b.pick(300, 30)
	heard := &arrivals{at: map[string]time.Time{}}
	hook := httptest.NewServer(http.HandlerFunc(heard.take))
	defer hook.Close()
	var text strings.Builder
	fmt.Fprintf(&text, "receivers: [{name: hook, url: %q, per_minute: 10000}]\nrules:\n", hook.URL)
	for i := range n {
		fmt.Fprintf(&text, "- {name: r%d, summary: s, severity: info, metric: %s.m%d, when: value > 9, receivers: hook}\n", i, group, i)
	}
	w, err := b.startWatcher(ctx, group, nissa.Config{
		Store:  nissa.Store{URL: "sqlite:///" + filepath.Join(b.folder, group+".db")},
		Alerts: &nissa.Alerts{Rules: func() ([]byte, string, error) { return []byte(text.String()), "", nil }},
	})
	if err != nil {
		return err
	}
	sent := make(map[string]time.Time, n)
	pace := time.NewTicker(37 * time.Millisecond) // at no fixed place of its beats
	defer pace.Stop()
	for i := range n {
		<-pace.C
		sent[fmt.Sprintf("r%d", i)] = time.Now()
		if err := w.publish(ctx, telemetry.New("bench", "bench").Metric(fmt.Sprintf("%s.m%d", group, i), 12, "").Build()); err != nil {
			return errors.Join(err, w.stop())
		}
	}
	err = poll(ctx, func(context.Context) error {
		if got := heard.count(); got < n {
			return fmt.Errorf("%d of %d alerts have arrived", got, n)
		}
		return nil
	})
	if err := errors.Join(err, w.stop()); err != nil {
		return err
	}
	var took []float64
	for name, at := range sent {
		took = append(took, milliseconds(heard.at[name].Sub(at)))
	}
	b.table.sample(rowAlertP50, ours, quantile(took, 0.5))
	b.table.sample(rowAlertP99, ours, quantile(took, 0.99))
	return nil
}

// measureSeries fills a Nissa with series of ten sources, and takes a scrape of them or what they
// add to the heap.
func (b *bench) measureSeries(ctx context.Context, group string, series int, name string) error {
	if !b.table.wants(name) {
		return nil
	}
	w, err := b.startWatcher(ctx, group, nissa.Config{Limits: nissa.Limits{Series: series}})
	if err != nil {
		return err
	}
	before := heap()
	const sources, points = 10, 500
	for source := range sources {
		for part := range series / sources / points {
			packet := telemetry.New(fmt.Sprint("source", source), "bench")
			for i := range points {
				packet.Metric(fmt.Sprintf("some.metric.of_%d_%d", part, i), float64(i), "count", "training_run_id", "run-1")
			}
			if err := w.publish(ctx, packet.Build()); err != nil {
				return errors.Join(err, w.stop())
			}
		}
	}
	err = poll(ctx, func(ctx context.Context) error {
		page, err := w.get(ctx, "/metrics")
		if err == nil && !strings.Contains(page, "\nnissa_series "+strconv.FormatFloat(float64(series), 'g', -1, 64)+"\n") {
			err = errors.New("not all series are there yet")
		}
		return err
	})
	if err == nil && name == rowManySeries {
		b.table.sample(name, ours, (heap()-before)/(1<<20))
	} else if err == nil {
		err = b.sampleScrapes(ctx, w, name)
	}
	return errors.Join(err, w.stop())
}

func (b *bench) sampleScrapes(ctx context.Context, w *watcher, name string) error {
	var took []float64
	for range b.pick(30, 3) {
		begun := time.Now()
		if _, err := w.get(ctx, "/metrics"); err != nil {
			return err
		}
		took = append(took, milliseconds(time.Since(begun)))
	}
	b.table.sample(name, ours, quantile(took, 0.5))
	return nil
}

// heap is what is in use of it after a collection, in bytes.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}
