package weatherlight

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
	"github.com/esper-lite/weatherlight/weatherlight/internal/telemetryqueue"
)

// instances is this one's place among those on the bus, and what needs nothing but the bus.
// Its workers outlive the others: what those leave behind goes through them.
type instances struct {
	crew

	fleet    *fleet.Fleet
	kept     telemetryqueue.Durable
	farewell func(context.Context) error // before the workers stop
	lost     []error                     // what the stop could not do for want of a bus
}

// joinInstances creates the groups that the instances share, on the streams that they read,
// and takes this one's place among them. Its name must be its own: two consumers of one name
// would take each other's messages.
func joinInstances(
	ctx context.Context, f *foundation, c *connection, farewell func(context.Context) error,
) (*instances, error) {
	streams := assembly.Streams(f.settings)
	streams.Telemetry = streams.Normal // telemetry is for others to read
	if err := c.bus.EnsureGroups(ctx, assembly.Group, streams.Names()...); err != nil {
		return nil, fmt.Errorf("create consumer groups: %w", err)
	}
	owner, err := datadir.Name(f.settings.Weatherlight.DataDir)
	if err != nil {
		return nil, err
	}
	joined := &instances{kept: c.durable, farewell: farewell, fleet: fleet.New(fleet.Config{
		Name: f.instance(), Library: libraryID(f.settings.Urza.DatabaseURL.String()), Departed: c.inheritFrom,
		Clock: f.rhythm(), Logger: f.logger,
		Lease: c.bus.NewLease(lease.Config{Name: f.instance(), Owner: owner, TTL: fleet.TTL, Badges: f.keyring.KeyIDs}),
	})}
	c.hold = joined.fleet.Hold
	err = joined.fleet.Join(ctx)
	if errors.Is(err, lease.ErrStranger) {
		return nil, fmt.Errorf("the instances on this bus have another ESPER_LEYLINE_SECRET: "+
			"give this one theirs, or a bus of its own: %w", err)
	}
	if errors.Is(err, lease.ErrNameTaken) {
		return nil, fmt.Errorf("instance name %q is in use on this bus: set WEATHERLIGHT_INSTANCE: %w", f.instance(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("join the other instances: %w", err)
	}
	drain := func(ctx context.Context) error { return c.durable.Outbox.Run(ctx, c.bus) }
	joined.crew = f.newCrew(
		supervise.Spec{Name: workerFleet, Worker: joined.fleet},
		supervise.Spec{Name: workerOutbox, Worker: supervise.WorkerFunc(drain)})
	if f.settings.SecretFile != "" {
		joined.specs = append(joined.specs, supervise.Spec{Name: workerSecrets, Worker: f.secrets})
	}
	return joined, nil
}

// stop sends what is left, once nobody adds to it any more.
func (i *instances) stop(ctx context.Context) error {
	sent := i.farewell(ctx)
	if !errors.Is(sent, oona.ErrUnavailable) {
		i.kept.Drain(ctx)
	}
	return errors.Join(i.unlessDown(sent), i.crew.stop(ctx))
}

// leaveTimeout bounds the wait for a bus that does not answer.
const leaveTimeout = 500 * time.Millisecond

// close gives this instance's place up.
func (i *instances) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	return i.unlessDown(i.fleet.Leave(ctx))
}

// unlessDown keeps apart what a stop could not do for want of a bus.
func (i *instances) unlessDown(err error) error {
	if errors.Is(err, oona.ErrUnavailable) {
		i.lost = append(i.lost, err)
		return nil
	}
	return err
}

// confirmLead keeps a leader that was from writing over its successor.
func (i *instances) confirmLead(ctx context.Context) error {
	if !i.fleet.Leads() {
		return nil
	}
	return i.fleet.Confirm(ctx)
}

// inheritFrom takes over what an instance had in hand that has died. What it touched
// later than it fell silent is still its own.
func (c *connection) inheritFrom(instance string, silent time.Duration) {
	other := c.settings.Weatherlight
	other.Instance = instance
	c.bus.TakeOver(other.Consumer(), silent)
}

// libraryID names the kernel library: instances of one database share it, and a
// file is that of one machine.
func libraryID(address string) string {
	if path, isFile := strings.CutPrefix(address, "sqlite:///"); isFile {
		host, _ := os.Hostname() // A machine without a name is one as well.
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		address = host + ":" + path
	}
	sum := sha256.Sum256([]byte(address))
	return hex.EncodeToString(sum[:8])
}
