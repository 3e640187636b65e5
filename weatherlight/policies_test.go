package weatherlight

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
)

func policyUpdate(id, version string, issued time.Time) *leyline.PolicyUpdate {
	return &leyline.PolicyUpdate{
		PolicyId: id, TamiyoPolicyVersion: version, IssuedAt: timestamppb.New(issued), Payload: []byte(version),
	}
}

// Commands and reports carry the version that the leader knows, so it must not
// depend on who leads.
func TestPolicyInForceOutlivesItsLeader(t *testing.T) {
	redis := redistest.Start(t)
	instance := func(name string) *running {
		return start(t, newService(t, map[string]string{"REDIS_URL": redis.URL, "WEATHERLIGHT_INSTANCE": name}))
	}
	inForce := func(want string, all ...*running) {
		t.Helper()
		for _, r := range all {
			eventually(t, r.instance()+" knows of "+want, func() bool { return r.policies.Version() == want })
		}
	}
	first, second := instance("first"), instance("second")
	peer, begun := connect(t, redis.URL, "peer"), time.Now().Add(-time.Minute)
	for i := range 6 {
		update := policyUpdate(fmt.Sprint("p", i%2), fmt.Sprint("v", i), begun.Add(time.Duration(i)*time.Second))
		if err := peer.Publish(t.Context(), oona.Message{Payload: update}); err != nil {
			t.Fatal(err)
		}
	}
	inForce("v5", first, second)
	third := instance("third")
	inForce("v5", third)
	if err := first.stop(t); err != nil {
		t.Error(err)
	}
	eventually(t, "another one leads", func() bool { return second.fleet.Leads() || third.fleet.Leads() })
	replay := policyUpdate("p1", "v3", begun.Add(3*time.Second))
	if err := peer.Publish(t.Context(), oona.Message{Payload: replay}); err != nil {
		t.Fatal(err)
	}
	if err := peer.Publish(t.Context(), oona.Message{Payload: policyUpdate("p2", "v6", begun.Add(6*time.Second))}); err != nil {
		t.Fatal(err)
	}
	inForce("v6", second, third)
	told := func(stream, description string, times int) {
		t.Helper()
		heard := listen(t, peer, stream, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
		eventually(t, fmt.Sprint(times, " times ", description), func() bool {
			n := 0
			for _, packet := range heard.packets() {
				if len(packet.GetEvents()) > 0 && packet.GetEvents()[0].GetDescription() == description {
					n++
				}
			}
			return n == times
		})
	}
	told("oona.telemetry", "policy_update_applied", 7)
	told(onEmergency, "policy_update_rejected", 1)
	for _, r := range []*running{second, third} {
		if err := r.stop(t); err != nil {
			t.Error(err)
		}
	}
}

func TestOldPolicyUpdatesAreRefusedWhenUpdatesAreVerified(t *testing.T) {
	for verify, refused := range map[string]bool{"true": true, "false": false} {
		r := start(t, newService(t, map[string]string{
			"TAMIYO_VERIFY_UPDATES": verify, "TAMIYO_UPDATE_FRESHNESS_SEC": "60",
		}))
		err := r.policies.Accept(t.Context(), policyUpdate("p", "v1", time.Now().Add(-time.Hour)))
		var rejected *policy.RejectedError
		if errors.As(err, &rejected) != refused || refused && rejected.Reason != policy.ReasonStale {
			t.Errorf("verified %s: %v", verify, err)
		}
		if err := r.policies.Accept(t.Context(), policyUpdate("p", "v2", time.Now())); err != nil {
			t.Errorf("verified %s, of now: %v", verify, err)
		}
		if err := r.stop(t); err != nil {
			t.Error(err)
		}
	}
}

// An older peer diverts what it publishes under pressure.
func TestDivertedPolicyUpdateReachesTheLeader(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	peer := connect(t, redis.URL, "peer")
	if err := peer.Publish(t.Context(), oona.Message{Stream: onEmergency, Payload: policyUpdate("p", "v1", time.Now())}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the policy is in force", func() bool { return r.policies.Version() == "v1" })
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
