package notify

import (
	"context"
	"io"
	"log"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
)

// service is one of those that shoutrrr knows. Its deliveries take no context: one that takes
// too long is given up, and until it has returned there is no other.
type service struct {
	scheme  string
	service types.Service
	hide    redactor
	running chan struct{} // holds one while a delivery is under way
}

func newService(scheme, address string, hide redactor) (*service, error) {
	services, err := router.New(log.New(io.Discard, "", 0))
	if err != nil {
		return nil, err
	}
	located, err := services.Locate(address)
	if err != nil {
		return nil, err
	}
	return &service{scheme: scheme, service: located, hide: hide, running: make(chan struct{}, 1)}, nil
}

func (s *service) Program() bool { return false }

func (s *service) Send(ctx context.Context, n grouping.Notification) error {
	if s.scheme == "pagerduty" {
		return s.incident(ctx, n)
	}
	params := types.Params{}
	if s.scheme == "smtp" {
		params["subject"] = harmless(title(n))
	}
	return s.deliver(ctx, text(n), params)
}

// incident opens one for a rule, or closes it when none of its alerts fires any more.
func (s *service) incident(ctx context.Context, n grouping.Notification) error {
	params := types.Params{"action": "trigger", "dedup_key": "nissa-" + n.Rule, "severity": meaningOf(n).Severity, "source": "nissa"}
	if n.Left == 0 {
		params["action"] = "resolve"
	}
	return s.deliver(ctx, text(n), params)
}

func (s *service) deliver(ctx context.Context, message string, params types.Params) error {
	select {
	case s.running <- struct{}{}:
	default:
		return ErrBusy
	}
	sent := make(chan error, 1)
	go func() {
		err := s.service.Send(message, &params)
		<-s.running // who hears of the end may send the next one at once
		sent <- err
	}()
	select {
	case err := <-sent:
		return s.hide.in(err)
	case <-ctx.Done():
		return s.hide.in(ctx.Err())
	}
}

// Close waits for a delivery that is under way.
func (s *service) Close(ctx context.Context) error {
	select {
	case s.running <- struct{}{}:
		<-s.running
		return nil
	case <-ctx.Done():
		return ErrBusy
	}
}
