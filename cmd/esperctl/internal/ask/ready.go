package ask

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/esper-lite/weatherlight/settings"
)

// Readiness is what a service says of itself, or why it says nothing.
type Readiness struct {
	Asked  string `json:"asked"` // where
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"` // why not
}

// Ready asks whether a service may take work: the one at an address, or else Weatherlight. It sends no
// token, and reads none: a service goes on with those from before while its file of them is changed.
// The answer is nil when nobody could be asked, and an error says why a service is not ready.
func Ready(ctx context.Context, s *settings.Settings, address string) (*Readiness, error) {
	service := weatherlight()
	if address == "" {
		if err := service.locate("WEATHERLIGHT_HTTP", s.Weatherlight.URL, s.Weatherlight.Listener()); err != nil {
			return nil, err
		}
	} else {
		service.hint = "start the service that is to be there, or name the address where it is"
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
	}
	var err error
	if service.client, err = client(s); err != nil {
		return nil, err
	}
	service = service.At(address)
	said := &Readiness{Asked: service.shown}
	if said.Reason, err = service.probe(ctx); err != nil && said.Reason == "" {
		said.Reason = err.Error()
	}
	said.Ready = err == nil
	return said, err
}

// probe is why a service is not ready, in its own words if it has any.
func (s *Service) probe(ctx context.Context) (reason string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/readyz", http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", s.shown, err)
	}
	request.Close = true
	response, err := s.client.Do(request)
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, s.hint)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxReason))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", s.shown, err)
	}
	if response.StatusCode != http.StatusOK {
		reason = whyNot(answer)
		return reason, fmt.Errorf("%s is not ready: %s: try again, or look at esperctl status", s.shown, reason)
	}
	return "", nil
}

// whyNot is the reason in an answer, or else all of it.
func whyNot(answer []byte) string {
	var said struct{ Reason, Status string }
	_ = json.Unmarshal(answer, &said) // who answers otherwise says no more than that
	return cmp.Or(said.Reason, said.Status, strings.TrimSpace(string(answer)))
}
