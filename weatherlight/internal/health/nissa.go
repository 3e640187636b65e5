package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
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

// Nissa asks a running Nissa now and then whether it is ready. Nothing
// depends on the answer: it is reported, and that is all.
type Nissa struct {
	url    string // of /readyz
	client *http.Client
	clock  cadence.Clock

	mu     sync.Mutex
	state  string
	since  time.Time // of the state
	detail string    // why it is not ready
}

// NewNissa has not asked yet. It is nil when there is no URL, and no Nissa to ask.
func NewNissa(base string, clock cadence.Clock) *Nissa {
	if base == "" {
		return nil
	}
	return &Nissa{
		url:    strings.TrimRight(base, "/") + "/readyz",
		client: &http.Client{Transport: &http.Transport{}, Timeout: nissaPatience},
		clock:  clock,
		state:  nissaUnknown,
	}
}

// Run asks until ctx is done.
func (n *Nissa) Run(ctx context.Context) error {
	defer n.client.CloseIdleConnections()
	n.round(ctx)
	cadence.Every(ctx, n.clock, nissaInterval, n.round)
	return nil
}

func (n *Nissa) round(ctx context.Context) {
	state, detail := n.ask(ctx)
	if ctx.Err() == nil {
		n.record(state, detail, time.Now())
	}
}

func (n *Nissa) ask(ctx context.Context) (state, detail string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url, nil)
	if err != nil {
		return nissaUnreachable, withoutURL(err)
	}
	response, err := n.client.Do(request)
	if err != nil {
		return nissaUnreachable, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nissaUnready, fmt.Sprintf("%s answers %s", request.URL.Host, response.Status)
	}
	return nissaReady, ""
}

// withoutURL is what an error says beside the address, which may hold a password.
func withoutURL(err error) string {
	if ofURL, is := errors.AsType[*url.Error](err); is {
		err = ofURL.Err
	}
	return err.Error()
}

func (n *Nissa) record(state, detail string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.state != state {
		n.state, n.since = state, now
	}
	n.detail = detail
}

// sample finds a Nissa that cannot be reached, or is not ready.
func (n *Nissa) sample(context.Context) []finding {
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

// Status is nil when there is no Nissa to ask.
func (n *Nissa) Status() *NissaStatus {
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
