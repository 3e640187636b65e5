package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// Without a run nobody answers: the command is sent, and not waited for. Whether there is one
// Weatherlight knows best: Nissa remembers runs that are long over.
func TestModeWithoutARunDoesNotWait(t *testing.T) {
	for name, row := range map[string]struct{ nissa, weatherlight string }{
		"neither knows of one":              {`[]`, `{"runs":[]}`},
		"Nissa alone remembers one":         {`[{"run":"forgotten"}]`, `{"runs":[]}`},
		"Nissa has none, and is all we ask": {`[]`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			onBus(t)
			serve(t, row.nissa, row.weatherlight)
			for _, mode := range []string{"conservative", "normal"} {
				if said := mustRun(t, "mode", mode, "--reason", "drill", "--wait", "1m"); !strings.Contains(said, "sent as") || !strings.Contains(said, "no run") {
					t.Error(said)
				}
			}
		})
	}
}

func TestModeWaitsForARunThatNissaHasNotHeardOfYet(t *testing.T) {
	onBus(t)
	serve(t, `[]`, `{"runs":["young"]}`)
	if _, err := run(t, "mode", "normal", "--reason", "drill", "--wait", "50ms"); err == nil || !strings.Contains(err.Error(), "not answered") ||
		!strings.Contains(err.Error(), "ESPER_LEYLINE_SECRET") {
		t.Error(err)
	}
}

// serve has a Nissa and a Weatherlight answer with those runs; the latter is away without an answer.
func serve(t *testing.T, nissa, weatherlight string) {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/runs", "/api/events":
			_, _ = w.Write([]byte(`{"runs":` + nissa + `,"head":0,"events":[]}`))
		case "/runs":
			if weatherlight == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write([]byte(weatherlight))
		default:
			t.Errorf("asked for %s", r.URL)
		}
	}))
	t.Cleanup(service.Close)
	t.Setenv("NISSA_URL", service.URL)
	t.Setenv("WEATHERLIGHT_HTTP_ADDR", strings.TrimPrefix(service.URL, "http://"))
}

// Of alerts that begin alike none is taken up by chance.
func TestAckTakesTheAlertThatIsMeant(t *testing.T) {
	var acked []string
	nissa := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, is := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/api/alerts/"), "/ack"); is {
			acked = append(acked, id)
		}
		_, _ = w.Write([]byte(`{"alerts":[{"id":"aa11","rule":"one"},{"id":"aa1","rule":"two"},{"id":"bb22","rule":"three"}]}`))
	}))
	defer nissa.Close()
	alone(t)
	t.Setenv("NISSA_URL", nissa.URL)
	for id, want := range map[string]struct {
		acks string
		code int
	}{
		"": {"", process.ExitConfiguration}, " ": {"", process.ExitConfiguration}, "aa": {"", process.ExitConfiguration},
		"c": {"", process.ExitFailed}, "b": {"bb22", 0}, "aa1": {"aa1", 0}, "aa11": {"aa11", 0},
	} {
		acked = nil
		_, err := run(t, "alarms", "ack", id)
		if process.ExitCode(err) != want.code || strings.Join(acked, ",") != want.acks {
			t.Errorf("%q: exit code %d, %v, took up %q", id, process.ExitCode(err), err, acked)
		}
	}
}

// desk is a leader of which Nissa tells, and that answers as it is told to.
type desk struct {
	nissa *httptest.Server

	mu         sync.Mutex
	told, page string
	asked      string // what the last update asks for
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	bus, d := onBus(t), new(desk)
	d.nissa = httptest.NewServer(d)
	t.Setenv("NISSA_URL", d.nissa.URL)
	fetch, end := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		_ = bus.Consume(fetch, fetch, oona.Subscription{Stream: "oona.policy", Group: "g", Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE: d.take,
		}})
	})
	t.Cleanup(func() { end(); reading.Wait(); d.nissa.Close() })
	return d
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.URL.Path == "/api/events" && d.told != "" {
		_, _ = fmt.Fprintf(w, `{"events":[%s]}`, d.page)
		return
	}
	_, _ = w.Write([]byte(`{"runs":[],"head":0,"events":[]}`))
}

func (d *desk) take(_ context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = delivery.Attributes["policy_action"]
	at := delivery.Payload.(*leyline.PolicyUpdate).GetIssuedAt().AsTime().UnixNano()
	d.page = fmt.Sprintf(d.told, at-1) + "," + fmt.Sprintf(d.told, at)
	return nil, nil
}

// tells has what is asked from now on answered by an event.
func (d *desk) tells(name, details string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.page = ""
	d.told = `{"seq":1,"kind":"event","name":"` + name + `","details":{"issued_at_ns":"%d",` + details + `}}`
}

func (d *desk) heard() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

const nowInForce = `"active":"none","shadow":"v2"`

// A rollback that was refused must not look like one that was done.
func TestPolicyCommandsSayWhatCameOfThem(t *testing.T) {
	d := newDesk(t)
	d.tells("policy_rolled_back", nowInForce)
	if said := mustRun(t, "policy", "rollback"); !strings.Contains(said, "taken: policy_rolled_back; active is none, in the shadow v2") {
		t.Error(said)
	}
	d.tells("policy_activated", nowInForce)
	for _, line := range [][]string{{"activate"}, {"activate_uncompared", "--uncompared"}} {
		if said := mustRun(t, append([]string{"policy", "activate", strings.Repeat("ab", 32)}, line[1:]...)...); !strings.Contains(said, "taken") {
			t.Error(said)
		}
		if got := d.heard(); got != line[0] {
			t.Errorf("asked for %s, want %s", got, line[0])
		}
	}
	d.tells("policy_update_rejected", `"reason":"nothing_before"`)
	if _, err := run(t, "policy", "activate", strings.Repeat("ab", 32)); err == nil || !strings.Contains(err.Error(), "refused: nothing_before") {
		t.Errorf("got %v", err)
	}
	if said := mustRun(t, "policy", "rollback", "--wait", "0s"); !strings.Contains(said, "sent as ") {
		t.Error(said)
	}
	d.nissa.Close()
	if said := mustRun(t, "policy", "rollback"); !strings.Contains(said, "not known") {
		t.Error(said)
	}
}

// A rollback goes out though Nissa lets nobody in, which is said before: whoever waits for a bus can see why.
func TestPolicyCommandsSayWhyNobodyWillTellWhatComesOfThem(t *testing.T) {
	onBus(t)
	asked := []string{}
	nissa := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer nissa.Close()
	t.Setenv("NISSA_URL", nissa.URL)
	t.Setenv("WEATHERLIGHT_URL", nissa.URL)
	rollback := func(arguments ...string) (out, errs string) {
		t.Helper()
		var said, told strings.Builder
		root := newRoot()
		root.SetArgs(append([]string{"policy", "rollback"}, arguments...))
		root.SetOut(&said)
		root.SetErr(&told)
		if err := execute(t.Context(), root); err != nil {
			t.Fatal(err)
		}
		return said.String(), told.String()
	}
	out, errs := rollback()
	if !strings.Contains(out, "sent as ") || strings.Contains(out, "does not answer") || !strings.Contains(errs, "NISSA_HTTP_TOKEN") {
		t.Errorf("said %q, told %q", out, errs)
	}
	if fmt.Sprint(asked) != "[/api/runs]" {
		t.Errorf("asked for %v", asked)
	}
	t.Setenv("NISSA_HTTP_TOKEN_FILE", "/not/there")
	if _, errs := rollback(); !strings.Contains(errs, "NISSA_HTTP_TOKEN_FILE") {
		t.Errorf("told %q", errs)
	}
	if out, errs := rollback("--wait", "0s"); !strings.Contains(out, "sent as ") || errs != "" || len(asked) != 1 {
		t.Errorf("said %q, told %q, asked for %v", out, errs, asked)
	}
}
