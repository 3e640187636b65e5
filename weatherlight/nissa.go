package weatherlight

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
	"github.com/esper-lite/weatherlight/supervise"
)

const (
	// nissaInterval is the pause between two questions, nissaPatience how long
	// an answer may take.
	nissaInterval = 10 * time.Second
	nissaPatience = time.Second
)

// What is known of Nissa.
const (
	nissaUnknown     = "unknown"     // not asked yet
	nissaReady       = "ready"       // answers that it takes work
	nissaUnready     = "unready"     // answers that it does not
	nissaUnreachable = "unreachable" // does not answer
)

// nissaHeartbeat asks a running Nissa now and then whether it is ready. Nothing
// depends on the answer: it is reported, and that is all.
type nissaHeartbeat struct {
	url    string // of /readyz
	client *http.Client
	rhythm cadence.Phase

	mu     sync.Mutex
	state  string
	since  time.Time // of the state
	detail string    // why it is not ready
}

// newNissaHeartbeat is nil when there is no Nissa to ask.
func newNissaHeartbeat(base string, rhythm cadence.Phase) *nissaHeartbeat {
	if base == "" {
		return nil
	}
	return &nissaHeartbeat{
		url:    strings.TrimRight(base, "/") + "/readyz",
		client: &http.Client{Transport: &http.Transport{}, Timeout: nissaPatience},
		rhythm: rhythm,
		state:  nissaUnknown,
	}
}

// Run asks until ctx is done.
func (n *nissaHeartbeat) Run(ctx context.Context) error {
	defer n.client.CloseIdleConnections()
	n.round(ctx)
	cadence.Every(ctx, n.rhythm, nissaInterval, n.round)
	return nil
}

func (n *nissaHeartbeat) round(ctx context.Context) {
	state, detail := n.ask(ctx)
	if ctx.Err() == nil {
		n.note(state, detail, time.Now())
	}
}

func (n *nissaHeartbeat) ask(ctx context.Context) (state, detail string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url, nil)
	if err != nil {
		return nissaUnreachable, err.Error()
	}
	response, err := n.client.Do(request)
	if err != nil {
		return nissaUnreachable, err.Error()
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nissaUnready, fmt.Sprintf("%s answers %s", request.URL.Redacted(), response.Status)
	}
	return nissaReady, ""
}

func (n *nissaHeartbeat) note(state, detail string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != state {
		n.state, n.since = state, now
	}
	n.detail = detail
}

// look finds a Nissa that cannot be reached, or is not ready.
func (n *nissaHeartbeat) look(context.Context) []finding {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state == nissaUnknown || n.state == nissaReady {
		return nil
	}
	return []finding{{detail: n.detail}}
}

// NissaStatus is what is known of a Nissa that NISSA_URL names.
type NissaStatus struct {
	State  string     `json:"state"`
	Since  *time.Time `json:"since,omitempty"`
	Detail string     `json:"detail,omitempty"`
}

// status is nil when there is no Nissa to ask.
func (n *nissaHeartbeat) status() *NissaStatus {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	status := &NissaStatus{State: n.state, Detail: n.detail}
	if !n.since.IsZero() {
		since := n.since
		status.Since = &since
	}
	return status
}

// watchers are the workers that look at the rest of the service: for trouble,
// for Nissa, and on behalf of the service manager.
func (s *Service) watchers() []supervise.Spec {
	if s.health == nil {
		s.nissa = newNissaHeartbeat(s.settings.Weatherlight.NissaURL.Reveal(), s.rhythm())
		s.health = s.newHealthWatch()
	}
	specs := []supervise.Spec{{Name: workerHealthWatch, Worker: s.health}}
	if s.nissa != nil {
		specs = append(specs, supervise.Spec{Name: workerNissa, Worker: s.nissa})
	}
	if dog := sdnotify.Watchdog(s.alive, s.logger); dog != nil {
		specs = append(specs, supervise.Spec{Name: workerWatchdog, Worker: dog})
	}
	return specs
}
