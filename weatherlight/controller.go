package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
)

// controller is the policies, and what reads states and commands.
type controller struct {
	*foundation
	crew

	policies *policy.Store
	members  *fleet.Fleet
}

// openController sets up the policies, and the consumers of the policy stream and of
// the normal stream. The latter brings the seeds' commands as well as the trainers'
// states: they share a stream and a group, so they share a consumer.
func openController(
	f *foundation, bus *connection, members *fleet.Fleet, library *urza.Library, runs *control.Room,
) (*controller, error) {
	logger := f.logger.With("part", "tamiyo")
	policies, err := policy.Open(policy.Config{
		Dir:       f.settings.Tamiyo.PolicyDir,
		Freshness: f.settings.Tamiyo.Freshness(),
		Fetch:     fetchPayload(library),
		Share: func(ctx context.Context, payload []byte) error {
			_, err := library.SavePayload(ctx, payload)
			return err
		},
		Emit:   bus.telemetry.Acknowledge,
		Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("policy store: %w", err)
	}
	c := &controller{foundation: f, policies: policies, members: members}
	notes := fleet.NewPolicyNotes(members, policies, f.keyring, logger)
	c.crew = f.newCrew(c.duties(bus, notes, runs, keepEvidence(library.Evidence()))...)
	return c, nil
}

func (c *controller) duties(
	bus *connection, notes *fleet.PolicyNotes, runs *control.Room, evidence oona.Handler,
) []supervise.Spec {
	return []supervise.Spec{
		{Name: workerPolicyNotes, Worker: notes},
		// The leader alone, one at a time, and none before one that has to be tried
		// again: policies are ordered.
		leaderConsumer(c.members, bus.consumer(workerPolicies, oona.Subscription{
			Concurrency: 1,
			Key:         func(*oona.Delivery) string { return "policies" },
			Handlers:    only(leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE, c.handlePolicy),
		})),
		// Every instance: what is decided on a run is decided on its record.
		bus.consumer(workerControl, oona.Subscription{
			Key: control.RunOf,
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: runs.Command,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:       runs.State,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_BSDS_ISSUED:        evidence,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_BSDS_FAILED:        evidence,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_BENCHMARK_REPORT:   evidence,
			},
		}),
	}
}

// fetchPayload reads payloads that lie in the kernel library.
func fetchPayload(library *urza.Library) func(context.Context, string, int) ([]byte, error) {
	return func(ctx context.Context, sum string, limit int) ([]byte, error) {
		content, err := library.OpenPayload(ctx, sum)
		var payload []byte
		if err == nil {
			payload, err = io.ReadAll(io.LimitReader(content, int64(limit)))
			err = errors.Join(err, content.Close())
		}
		for _, final := range []error{urza.ErrArtifactMissing, urza.ErrUnreadable, urza.ErrUntrusted, urza.ErrChecksumMismatch} {
			if errors.Is(err, final) {
				return nil, fmt.Errorf("%w: %w", policy.ErrNoPayload, err)
			}
		}
		return payload, err
	}
}

// inForce are the policies that the controller asks, nil where there is none.
func (c *controller) inForce() (active, shadow tamiyo.Policy) {
	if c == nil { // the boot has not come so far
		return nil, nil
	}
	decides, beside := c.policies.Deciding()
	if decides != nil {
		active = decides
	}
	if beside != nil {
		shadow = beside
	}
	return active, shadow
}

// handlePolicy takes an update in. It is settled when all others can know of it:
// whoever leads next goes on with it.
func (c *controller) handlePolicy(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	update, ok := d.Payload.(*leyline.PolicyUpdate)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("policy update is %T", d.Payload))
	}
	err := c.policies.Accept(ctx, update, d.Attributes)
	if _, rejected := errors.AsType[*policy.RejectedError](err); rejected {
		return nil, oona.Permanent(err)
	}
	if err != nil { // The disk failed: the update waits until there is room, and those behind it too.
		return nil, oona.Outage(err)
	}
	if err := c.members.Renew(ctx); err != nil { // The next renewal tells them as well.
		c.logger.Debug("the others were not told of a policy at once", "policy", update.GetPolicyId(), "error", err)
	}
	return nil, nil
}
