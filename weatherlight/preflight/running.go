package preflight

import (
	"context"
	"errors"

	"github.com/esper-lite/weatherlight/oona/admin"
)

// Running asks a bus again, while it is in use, what Bus asked of it at boot. Without Admin
// there is nothing that could go wrong.
type Running struct {
	Admin   *admin.Admin
	Streams []string
	Group   string
}

// Refuses is why the bus takes no writes, as when it is full. One that does not answer is
// another trouble.
func (r Running) Refuses(ctx context.Context) error {
	if r.Admin == nil {
		return nil
	}
	if err := r.Admin.Writable(ctx, r.Streams...); errors.Is(err, admin.ErrNoWrites) {
		return err
	}
	return nil
}

// Evicts is that the bus gives up keys.
func (r Running) Evicts(ctx context.Context) error {
	if r.Admin == nil {
		return nil
	}
	server, err := r.Admin.Server(ctx)
	if err != nil {
		return nil //nolint:nilerr // no answer is another trouble
	}
	return eviction(server)
}

// Unusable are the streams that cannot be written to, or be read by the group.
func (r Running) Unusable(ctx context.Context) map[string]error {
	if r.Admin == nil {
		return nil
	}
	return r.Admin.Unusable(ctx, r.Group)
}
