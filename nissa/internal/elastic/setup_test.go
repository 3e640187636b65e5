package elastic

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/internal/elastictest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

const patient = 15 * time.Second

func config(t *testing.T, server *elastictest.Server) Config {
	return Config{URL: server.URL(), Dir: t.TempDir(), Interval: time.Millisecond, Pause: time.Millisecond}
}

func open(t *testing.T, c Config) *Indexer {
	t.Helper()
	x, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// started runs until stop is called.
func started(t *testing.T, x *Indexer) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() {
		if err := x.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); loop.Wait() })
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func numbered(n int) *runs.Message {
	return &runs.Message{Payload: &leyline.TelemetryPacket{SourceSubsystem: "tamiyo", PacketId: fmt.Sprint("p-", n)}}
}

func keep(x *Indexer, from, to int) {
	for n := from; n < to; n++ {
		x.Keep(numbered(n))
	}
}

// labelled are the values of a series of x by index.
func labelled(t *testing.T, x *Indexer, name string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(x)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			index := ""
			for _, label := range metric.GetLabel() {
				if label.GetName() == "index" {
					index = label.GetValue()
				}
			}
			values[index] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// shows is the value of a series of x, of all its labels together.
func shows(t *testing.T, x *Indexer, name string) (sum float64) {
	t.Helper()
	for _, value := range labelled(t, x, name) {
		sum += value
	}
	return sum
}

func idle(x *Indexer) bool {
	for _, lane := range x.lanes {
		if documents, size := lane.spool.waiting(); documents > 0 || size > 0 {
			return false
		}
	}
	return true
}

// mustBeStrict: the server was asked nothing that Elasticsearch refuses.
func mustBeStrict(t *testing.T, server *elastictest.Server) {
	t.Helper()
	if said := server.Complaints(); len(said) > 0 {
		t.Errorf("the server complains: %v", said)
	}
}

func nowAndThen() elastictest.Fault {
	var n atomic.Int32
	return func(*http.Request) (int, string) {
		if n.Add(1)%3 == 0 {
			return 0, ""
		}
		return 503, ""
	}
}
