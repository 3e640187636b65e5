package weatherlight

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/httpapi"
)

// relayedOrigin marks the emergencies that we put on the bus because they came
// through shared memory: they were told of there.
const relayedOrigin = "weatherlight:" + sharedOrigin

// sharedEmergency takes an emergency from shared memory. It is told of at once, and
// one that runs have to act on goes to the bus, durably: there it reaches them as
// any other does. It returns false when there is room for it nowhere.
func (s *Service) sharedEmergency(raised alarm) bool {
	if !s.emergency.Shared(raised) {
		return false
	}
	if raised.level < leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE {
		return true
	}
	signal := &leyline.EmergencySignal{
		Version: 1, Level: raised.level, Reason: raised.reason, Origin: relayedOrigin,
		TriggeredAt: timestamppb.Now(), MonotonicTimeMs: raised.atMs,
	}
	ctx, cancel := context.WithTimeout(context.Background(), putTimeout) // as an alarm: whatever is being stopped
	defer cancel()
	once := fmt.Sprintf("emergency:%s:%d:%d", s.instance(), raised.atMs, raised.level)
	if raised.atMs == 0 {
		once = "emergency:" + rand.Text()
	}
	if err := s.outbox.Put(ctx, oona.Message{Payload: signal, Once: once}); err != nil {
		s.logger.Warn("emergency not kept on disk", "reason", raised.reason, "error", err)
		return false
	}
	return true
}

// emergencySignalled takes an emergency from the bus: it is told of, and acts on
// the run that it names, or on all.
func (s *Service) emergencySignalled(ctx context.Context, signal *leyline.EmergencySignal) ([]oona.Message, error) {
	if signal.GetOrigin() != relayedOrigin {
		if _, err := s.emergency.Signal(ctx, signal); err != nil {
			return nil, err
		}
	}
	id := signal.GetOrigin() + "/" + strconv.FormatUint(signal.GetMonotonicTimeMs(), 10)
	if triggered := signal.GetTriggeredAt(); triggered.IsValid() {
		id += "/" + strconv.FormatInt(triggered.AsTime().UnixNano(), 10)
	}
	err := s.runs.Emergency(ctx, signal.GetRunId(), kasmina.Emergency{
		Level: signal.GetLevel(), Reason: signal.GetReason(), Origin: signal.GetOrigin(), ID: id,
	})
	if err != nil {
		return nil, fmt.Errorf("act on emergency %q: %w", signal.GetReason(), err)
	}
	return nil, nil
}

const (
	// runsTimeout bounds the look at the records of one HTTP request.
	runsTimeout = 2 * time.Second
	// runsPage is how many runs one page of /runs names.
	runsPage = 200
)

// runList is the body of /runs.
type runList struct {
	Runs []string `json:"runs"`
	Next string   `json:"next,omitempty"` // the query parameter after of the next page
}

// serveRuns lists the runs that are known, a page at a time.
func (s *Service) serveRuns(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), runsTimeout)
	defer cancel()
	runs, err := s.runs.Runs(ctx, r.URL.Query().Get("after"), runsPage)
	if err != nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": err.Error()})
		return
	}
	list := runList{Runs: append([]string{}, runs...)}
	if len(runs) == runsPage {
		list.Next = runs[len(runs)-1]
	}
	writeJSON(w, http.StatusOK, list)
}

// serveRun shows the records of one run.
func (s *Service) serveRun(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), runsTimeout)
	defer cancel()
	view, err := s.runs.View(ctx, r.PathValue("run"))
	switch {
	case err != nil:
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": err.Error()})
	case view == nil:
		writeJSON(w, http.StatusNotFound, map[string]string{"status": "unknown run"})
	default:
		writeJSON(w, http.StatusOK, view)
	}
}

// state takes a report of a trainer. One that fetches kernels by http alone is meant
// to run on another machine.
func (s *Service) state(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	access := d.Attributes[trainer.AttributeKernelAccess]
	if strings.Contains(access, `"http"`) && !strings.Contains(access, `"path"`) {
		s.localOnly()
	}
	return s.runs.State(ctx, d)
}

// warnLocalOnly returns what warns, once, when other machines cannot follow the URLs
// of kernels.
func (s *Service) warnLocalOnly() func() {
	return sync.OnceFunc(func() {
		if url := s.advertisedURL(); httpapi.LocalOnly(url) {
			s.logger.Warn("a trainer fetches kernels by http, and only this machine reaches where they are: set WEATHERLIGHT_ADVERTISE_URL",
				"url", url)
		}
	})
}

// advertisedURL is where trainers reach the kernels, or empty when they are served
// nowhere.
func (s *Service) advertisedURL() string {
	var address net.Addr
	if s.listener != nil {
		address = s.listener.Addr()
	}
	return httpapi.Advertised(s.settings.Weatherlight.AdvertiseURL.Reveal(), address)
}

// trainerRoutes are what trainers and those who look after them ask for. On a
// listener that other machines reach they need the token.
func (s *Service) trainerRoutes(mux *http.ServeMux, listener net.Addr) {
	guarded := func(next http.Handler) http.Handler {
		return httpapi.Guard(listener, s.settings.Weatherlight.HTTPToken.Reveal(), s.onceBooted(next))
	}
	mux.Handle("GET /runs", guarded(http.HandlerFunc(s.serveRuns)))
	mux.Handle("GET /runs/{run}", guarded(http.HandlerFunc(s.serveRun)))
	// There is a library once the service is booted.
	kernels := sync.OnceValue(func() http.Handler { return httpapi.Kernels(s.library) })
	mux.Handle(httpapi.Path, guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kernels().ServeHTTP(w, r)
	})))
}

func (s *Service) onceBooted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.booted.Load() {
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "booting"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
