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

// Trouble is why the bus takes no writes, as when it is full, and that it gives up keys. One
// that does not answer is another trouble.
func (r Running) Trouble(ctx context.Context) (refuses, evicts error) {
	if r.Admin == nil {
		return nil, nil
	}
	if err := r.Admin.Writable(ctx, r.Streams...); errors.Is(err, admin.ErrNoWrites) {
		refuses = err
	}
	if server, err := r.Admin.Server(ctx); err == nil {
		evicts = Eviction(server)
	}
	return refuses, evicts
}

// Unusable are the streams that cannot be written to, or be read by the group.
func (r Running) Unusable(ctx context.Context) map[string]error {
	if r.Admin == nil {
		return nil
	}
	return r.Admin.Unusable(ctx, r.Group)
}
