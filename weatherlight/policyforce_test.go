package weatherlight

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
	"github.com/esper-lite/weatherlight/weatherlight/internal/policies"
)

// policyNetwork is the file of a policy that gives back its rows.
func policyNetwork(t *testing.T) []byte {
	t.Helper()
	b := kernel.NewBuilder("policy", network.Features)
	b.Node("Identity", []string{"host"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// A policy comes into force on every instance, whoever leads, and goes again.
func TestScenario113_PolicyComesIntoForceOnEveryInstance(t *testing.T) {
	redis := redistest.Start(t)
	library := t.TempDir()
	instance := func(name string) *running {
		return start(t, newService(t, map[string]string{
			"REDIS_URL": redis.URL, "WEATHERLIGHT_INSTANCE": name,
			"URZA_DATABASE_URL": "sqlite:///" + library + "/catalog.db", "URZA_ARTIFACT_DIR": library + "/artifacts",
		}))
	}
	first, second := instance("first"), instance("second")
	peer := connect(t, redis.URL, "peer")
	file, at := policyNetwork(t), time.Now().Add(-time.Minute)
	tell := func(version string, payload []byte, attributes map[string]string) {
		t.Helper()
		at = at.Add(time.Second)
		update := policyUpdate("p", version, at)
		update.Payload = payload
		if err := peer.Publish(t.Context(), oona.Message{Payload: update, Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
	}
	version := func(p tamiyo.Policy) string {
		if p == nil {
			return ""
		}
		return p.Version()
	}
	inForce := func(active, shadow string, all ...*running) {
		t.Helper()
		for _, r := range all {
			eventually(t, r.instance()+" is decided by "+active+" beside "+shadow, func() bool {
				decides, beside := policies.InForce(r.policies)
				return version(decides) == active && version(beside) == shadow
			})
		}
	}
	digest := payloads.ReferTo(file).Checksum
	tell("v1", file, nil)
	tell("", nil, journal.ToShadow.Attributes(digest))
	inForce("", "v1", first, second)
	both := []*listener{
		listen(t, peer, "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY),
		listen(t, peer, onEmergency, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY),
	}
	tell("", nil, journal.Activate.Attributes(digest)) // no run was decided beside it
	eventually(t, "it is refused", func() bool { return len(toldEvents(both, "policy_update_rejected")) == 1 })
	if got := toldEvents(both, "policy_update_rejected")[0].GetAttributes()["reason"]; got != policy.ReasonNotCompared {
		t.Errorf("refused as %s", got)
	}
	inForce("", "v1", first, second)
	tell("", nil, journal.ActivateUncompared.Attributes(digest))
	inForce("v1", "", first, second)
	if err := first.stop(t); err != nil {
		t.Error(err)
	}
	eventually(t, "the other leads", second.fleet.Leads)
	third := instance("third")
	inForce("v1", "", second, third)
	tell("", nil, journal.RollBack.Attributes(""))
	inForce("", "", second, third)
}
