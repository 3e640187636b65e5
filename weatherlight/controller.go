package weatherlight

import (
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/evidence"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
	"github.com/esper-lite/weatherlight/weatherlight/internal/policies"
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
	rules := "" // versions are not looked at
	if f.settings.Tamiyo.VerifyUpdates {
		rules = tamiyo.DefaultPolicyVersion
	}
	store, err := policy.Open(policy.Config{
		Rules:     rules,
		Dir:       f.settings.Tamiyo.PolicyDir,
		Freshness: f.settings.Tamiyo.Freshness(),
		Now:       bus.bus.Now,
		Fetch:     policies.Fetch(library),
		Share:     policies.Share(library),
		Compared:  policies.Compared(runs, logger),
		Emit:      bus.telemetry.Acknowledge,
		Logger:    logger,
	})
	if err != nil {
		return nil, fmt.Errorf("policy store: %w", err)
	}
	c := &controller{foundation: f, policies: store, members: members}
	notes := fleet.NewPolicyNotes(members, store, f.keyring, logger)
	c.crew = f.newCrew(c.duties(bus, notes, runs, evidence.Keep(library.Evidence()))...)
	return c, nil
}

func (c *controller) duties(
	bus *connection, notes *fleet.PolicyNotes, runs *control.Room, findings oona.Handler,
) []supervise.Spec {
	return []supervise.Spec{
		{Name: workerPolicyNotes, Worker: notes},
		// The leader alone, one at a time, and none before one that has to be tried
		// again: policies are ordered.
		bus.leaderConsumer(c.members, workerPolicies, oona.Subscription{
			Concurrency: 1,
			Key:         func(*oona.Delivery) string { return "policies" },
			Handlers:    only(leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE, policies.Take(c.policies, notes.CatchUp)),
		}),
		// Every instance: what is decided on a run is decided on its record.
		bus.consumer(workerControl, oona.Subscription{
			Key: control.RunOf,
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND: runs.Command,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:       runs.State,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_BSDS_ISSUED:        findings,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_BSDS_FAILED:        findings,
				leyline.BusMessageType_BUS_MESSAGE_TYPE_BENCHMARK_REPORT:   findings,
			},
		}),
	}
}
