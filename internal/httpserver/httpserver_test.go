package httpserver_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newWorker(t *testing.T, handler http.HandlerFunc) *httpserver.Worker {
	t.Helper()
	worker, err := httpserver.Listen(t.Context(), httpserver.Config{Addr: freeport.Must(t)}, slog.New(slog.DiscardHandler)) // nobody else is given it between two runs
	if err != nil {
		t.Fatal(err)
	}
	return worker.Serve(handler)
}

func ask(t *testing.T, worker *httpserver.Worker) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + worker.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRestartServesTheSameAddress(t *testing.T) {
	worker := newWorker(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })
	for range 3 {
		supervisor := supervise.New(supervise.Config{})
		if err := supervisor.Start(t.Context(), supervise.Spec{Name: "http", Worker: worker, AwaitReady: true}); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, worker); got != "here" {
			t.Errorf("answered %q", got)
		}
		if err := supervisor.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A page elsewhere whose name was made to lead to this machine gets nothing.
func TestForeignNamesAreRefusedOnLoopback(t *testing.T) {
	worker := newWorker(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	supervisor := supervise.New(supervise.Config{})
	if err := supervisor.Start(t.Context(), supervise.Spec{Name: "http", Worker: worker, AwaitReady: true}); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for host, want := range map[string]int{
		"": 204, "localhost": 204, "LocalHost:9100": 204, "nissa.localhost:9100": 204, "localhost.": 204, "127.0.0.1:9100": 204, "127.0.0.2": 204,
		"[::1]:9100": 204, "[::1]": 204, "192.0.2.7:9100": 204, // no page has an address for a name
		"evil.example": 421, "evil.example:9100": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "notlocalhost": 421, "nissa:9100": 421,
	} {
		request, err := http.NewRequest(http.MethodGet, "http://"+worker.Addr().String()+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != want {
			t.Errorf("%q: %d, want %d", host, response.StatusCode, want)
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := supervisor.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRequestUnderWayIsFinishedAtTheStop(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	worker := newWorker(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = io.WriteString(w, "late")
	})
	supervisor := supervise.New(supervise.Config{}) // which leaves time behind the stop
	if err := supervisor.Start(t.Context(), supervise.Spec{Name: "http", Worker: worker, AwaitReady: true}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		<-asked
		go func() { ended <- supervisor.Stop(context.Background()) }()
		for { // until it stops
			conn, err := net.Dial("tcp", worker.Addr().String())
			if err != nil {
				break
			}
			_ = conn.Close()
		}
		close(release)
	}()
	if got := ask(t, worker); got != "late" {
		t.Errorf("answered %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAddressThatIsTakenIsAnError(t *testing.T) {
	first := newWorker(t, nil)
	if second, err := httpserver.Listen(t.Context(), httpserver.Config{Addr: first.Addr().String()}, slog.New(slog.DiscardHandler)); err == nil {
		t.Errorf("%s was opened twice", second.Addr())
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
}

func TestWorkerPassesTheStress(t *testing.T) {
	supervisetest.Stress(t, func() supervise.Worker {
		return newWorker(t, func(http.ResponseWriter, *http.Request) {})
	})
}
