package karn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// ErrDenied says that the circuit around the approvals is open: the answer is
// not "no", it is "not now".
var ErrDenied = errors.New("karn: approvals are unavailable, circuit open")

// Request asks for one blueprint, by id or by choice.
type Request struct {
	// BlueprintID names the blueprint; empty means to choose by Query.
	BlueprintID string

	// Parameters are held to the blueprint's bounds when BlueprintID is given; a
	// chosen blueprint's parameters cannot be known before.
	Parameters map[string]float64

	Query Query

	// Grant is the permission the caller brings.
	Grant Grant
}

// Select answers a request: it finds the blueprint, checks the parameters,
// enforces approval and quarantine, and counts. Mistakes of the caller are
// *ParameterError, *RefusedError, ErrUnknownBlueprint and ErrNoCandidate; only
// failures of the approvals' look-up count against the circuit, which then
// answers ErrDenied. Blueprints that need no permission are never denied.
func (c *Catalog) Select(ctx context.Context, r Request) (*leyline.BlueprintDescriptor, error) {
	start := time.Now()
	d, err := c.resolve(r)
	if err == nil {
		err = c.permit(ctx, d, r.Grant)
	}
	if err != nil {
		c.record.failed(err)
		return nil, err
	}
	c.record.succeeded(d, r.Query.Conservative, time.Since(start))
	return proto.CloneOf(d), nil
}

func (c *Catalog) resolve(r Request) (*leyline.BlueprintDescriptor, error) {
	if r.BlueprintID == "" {
		return c.choose(r.Query)
	}
	d, err := c.find(r.BlueprintID)
	if err != nil {
		return nil, err
	}
	return d, validate(d, r.Parameters)
}

// permit asks for the standing approvals only when the request's own grant
// does not suffice.
func (c *Catalog) permit(ctx context.Context, d *leyline.BlueprintDescriptor, g Grant) error {
	g = g.Merge(c.config.Granted)
	err := authorize(d, g)
	if err == nil || c.config.Approvals == nil {
		return err
	}
	standing, lookup := c.circuit.Execute(func() (Grant, error) { return c.config.Approvals(ctx) })
	if errors.Is(lookup, gobreaker.ErrOpenState) || errors.Is(lookup, gobreaker.ErrTooManyRequests) {
		return ErrDenied
	}
	if lookup != nil {
		return fmt.Errorf("karn: look up approvals of %s: %w", d.GetBlueprintId(), lookup)
	}
	return authorize(d, g.Merge(standing))
}

func (c *Catalog) newCircuit() *gobreaker.CircuitBreaker[Grant] {
	return gobreaker.NewCircuitBreaker[Grant](gobreaker.Settings{
		Name:     "karn",
		Interval: 0,
		Timeout:  c.config.OpenFor,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return int64(n.ConsecutiveFailures) >= int64(c.config.Failures)
		},
		// A caller that gave up says nothing about the approvals' health.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				c.record.opened(c.config.Failures)
			}
		},
	})
}
