package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
	"github.com/esper-lite/weatherlight/weatherlight/internal/telemetryqueue"
)

// reportInterval is the pause between two looks for unsent field reports.
const reportInterval = time.Second

// controller is the policies and the field reports.
type controller struct {
	*foundation
	crew

	policies *tamiyo.Policies
	reports  *tamiyo.ReportLog
	members  *fleet.Fleet
	kept     telemetryqueue.Durable
}

// openController sets up the policies and the field-report log, and the consumers
// of the policy stream and of the normal stream. The latter brings the seeds'
// commands as well as the trainers' states: they share a stream and a group, so
// they share a consumer.
func openController(f *foundation, bus *connection, members *fleet.Fleet, runs *control.Room) (*controller, error) {
	logger := f.logger.With("part", "tamiyo")
	policies, err := tamiyo.NewPolicies(tamiyo.PolicyConfig{
		Dir:       f.settings.Tamiyo.PolicyDir,
		Freshness: f.settings.Tamiyo.Freshness(),
		Emit:      bus.telemetry.Acknowledge,
		Logger:    logger,
	})
	if err != nil {
		return nil, fmt.Errorf("policy store: %w", err)
	}
	reports, err := tamiyo.NewReportLog(filepath.Join(assembly.ReportFolder(f.settings), "field_reports.log"), tamiyo.ReportConfig{
		Retention:         f.settings.Tamiyo.FieldReportRetention,
		Backoff:           f.settings.Tamiyo.RetryBackoff,
		BackoffMultiplier: f.settings.Tamiyo.RetryBackoffMultiplier,
		MaxRetries:        f.settings.Tamiyo.FieldReportMaxRetries,
		Emit:              bus.telemetry.Offer,
		Logger:            logger,
	})
	if err != nil {
		return nil, fmt.Errorf("field-report log: %w", err)
	}
	c := &controller{foundation: f, policies: policies, reports: reports, members: members, kept: bus.durable}
	notes := fleet.NewPolicyNotes(members, policies, f.keyring, logger)
	c.crew = f.newCrew(c.duties(bus, notes, runs)...)
	return c, nil
}

func (c *controller) duties(bus *connection, notes *fleet.PolicyNotes, runs *control.Room) []supervise.Spec {
	return []supervise.Spec{
		{Name: workerPolicyNotes, Worker: notes},
		// The leader alone, one at a time, and none before one that has to be tried
		// again: policies are ordered.
		leaderConsumer(c.members, bus.consumer(workerPolicies, oona.Subscription{
			Concurrency: 1,
			Key:         func(*oona.Delivery) string { return "policies" },
			Handlers:    only(leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE, typed(c.handlePolicy)),
		})),
		// Every instance: what is decided on a run is decided on its record.
		bus.consumer(workerControl, oona.Subscription{
			Key: control.RunOf,
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: runs.Command,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:       runs.State,
			},
		}),
		{Name: workerReports, Worker: supervise.WorkerFunc(c.publishReports)},
	}
}

func (c *controller) close(context.Context) error { return c.reports.Close() }

// handlePolicy takes an update in. It is settled when all others can know of it:
// whoever leads next goes on with it.
func (c *controller) handlePolicy(ctx context.Context, update *leyline.PolicyUpdate) ([]oona.Message, error) {
	err := c.policies.HandleUpdate(ctx, update)
	if _, rejected := errors.AsType[*tamiyo.RejectedError](err); rejected {
		return nil, oona.Permanent(err)
	}
	if err != nil {
		return nil, err
	}
	if err := c.members.Renew(ctx); err != nil { // The next renewal tells them as well.
		c.logger.Debug("the others were not told of a policy at once", "policy", update.GetPolicyId(), "error", err)
	}
	return nil, nil
}

// publishReports sends the field reports that are due, once more when the
// worker is asked to stop.
func (c *controller) publishReports(ctx context.Context) error {
	cadence.Every(ctx, c.rhythm(), reportInterval, c.publishDueReports)
	c.publishDueReports(ctx)
	return nil
}

func (c *controller) publishDueReports(ctx context.Context) {
	// The log keeps what could not be sent and says when to try again, so a
	// refused report is no failure of this worker.
	if _, err := c.reports.PublishPending(supervise.Work(ctx), c.kept); err != nil {
		c.logger.Debug("field reports pending", "error", err)
	}
}
