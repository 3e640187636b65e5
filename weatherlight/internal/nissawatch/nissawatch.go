// Package nissawatch asks a running Nissa now and then whether it is ready.
//
// A [Watch] is run by the service, where NISSA_URL names a Nissa; its [Status] is on the status
// page and in the summary packet, and health makes an alarm of its trouble. Nothing else
// depends on the answer.
package nissawatch

import (
	"context"
	"crypto/tls"
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
	// interval is the pause between two questions, patience how long an answer may take.
	interval = 10 * time.Second
	patience = time.Second
)

// What is known of Nissa.
const (
	unknown     = "unknown"     // not asked yet
	ready       = "ready"       // answers that it takes work
	unready     = "unready"     // answers that it does not
	unreachable = "unreachable" // does not answer
)

// Watch asks one Nissa. A nil one has none to ask.
type Watch struct {
	url    string // of /readyz
	client *http.Client
	clock  cadence.Clock

	mu     sync.Mutex
	state  string
	since  time.Time // of the state
	detail string    // why it is not ready
}

// New has not asked yet. It is nil when there is no URL, and no Nissa to ask. Its certificate is
// looked at by trust.
func New(base string, trust *tls.Config, clock cadence.Clock) *Watch {
	if base == "" {
		return nil
	}
	return &Watch{
		url:    strings.TrimRight(base, "/") + "/readyz",
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: trust}, Timeout: patience},
		clock:  clock,
		state:  unknown,
	}
}

// Run asks until ctx is done.
func (w *Watch) Run(ctx context.Context) error {
	defer w.client.CloseIdleConnections()
	w.round(ctx)
	cadence.Every(ctx, w.clock, interval, w.round)
	return nil
}

func (w *Watch) round(ctx context.Context) {
	state, detail := w.ask(ctx)
	if ctx.Err() == nil {
		w.record(state, detail, time.Now())
	}
}

func (w *Watch) ask(ctx context.Context) (state, detail string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return unreachable, withoutURL(err)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return unreachable, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return unready, fmt.Sprintf("%s answers %s", request.URL.Host, response.Status)
	}
	return ready, ""
}

// withoutURL is what an error says beside the address, which may hold a password.
func withoutURL(err error) string {
	if ofURL, is := errors.AsType[*url.Error](err); is {
		err = ofURL.Err
	}
	return err.Error()
}

func (w *Watch) record(state, detail string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != state {
		w.state, w.since = state, now
	}
	w.detail = detail
}

// Trouble is why Nissa cannot be reached, or is not ready; nil when there is none, or none is
// known yet, or there is no Nissa to ask.
func (w *Watch) Trouble() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == unknown || w.state == ready {
		return nil
	}
	return errors.New(w.detail)
}

// Status is what is known of Nissa.
type Status struct {
	State  string     `json:"state"`
	Since  *time.Time `json:"since,omitempty"`
	Detail string     `json:"detail,omitempty"`
}

// Status is nil when there is no Nissa to ask.
func (w *Watch) Status() *Status {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	status := &Status{State: w.state, Detail: w.detail}
	if !w.since.IsZero() {
		since := w.since
		status.Since = &since
	}
	return status
}
