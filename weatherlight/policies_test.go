package weatherlight

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

func policyUpdate(id, version string, issued time.Time) *leyline.PolicyUpdate {
	return &leyline.PolicyUpdate{
		PolicyId: id, TamiyoPolicyVersion: version, IssuedAt: timestamppb.New(issued), Payload: []byte(version),
	}
}

// newestPolicy is the version of the policy that an instance knows to be the newest.
func newestPolicy(r *running) string {
	recent, found := r.policies.Recent()
	if !found || recent.Newest == nil {
		return ""
	}
	return recent.Newest.Metadata.GetTamiyoPolicyVersion()
}

// Which updates are old must not depend on who leads.
func TestScenario110_NewestPolicyOutlivesItsLeader(t *testing.T) {
	redis := redistest.Start(t)
	instance := func(name string) *running {
		return start(t, newService(t, map[string]string{"REDIS_URL": redis.URL, "WEATHERLIGHT_INSTANCE": name}))
	}
	known := func(want string, all ...*running) {
		t.Helper()
		for _, r := range all {
			eventually(t, r.instance()+" knows of "+want, func() bool { return newestPolicy(r) == want })
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
	known("v5", first, second)
	third := instance("third")
	known("v5", third)
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
	known("v6", second, third)
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
	told("oona.telemetry", "policy_update_stored", 7)
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
		err := r.policies.Accept(t.Context(), policyUpdate("p", "v1", time.Now().Add(-time.Hour)), nil)
		var rejected *policy.RejectedError
		if errors.As(err, &rejected) != refused || refused && rejected.Reason != policy.ReasonStale {
			t.Errorf("verified %s: %v", verify, err)
		}
		if err := r.policies.Accept(t.Context(), policyUpdate("p", "v2", time.Now()), nil); err != nil {
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
	eventually(t, "the policy is known", func() bool { return newestPolicy(r) == "v1" })
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// toldEvents are the events of that name that telemetry tells of, on either stream.
func toldEvents(heard []*listener, name string) (found []*leyline.TelemetryEvent) {
	for _, stream := range heard {
		for _, packet := range stream.packets() {
			for _, event := range packet.GetEvents() {
				if event.GetDescription() == name {
					found = append(found, event)
				}
			}
		}
	}
	return found
}

// A payload goes by reference where an envelope has no room for it. What is stored is not told of as
// applied, and no command names its version before it decides. A new id makes no old policy new.
func TestR16R43PoliciesAreStoredInOrderAndDecideNothing(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL, "OONA_TRUST": "strict"}))
	peer := connect(t, redis.URL, "peer")
	both := []*listener{
		listen(t, peer, "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY),
		listen(t, peer, onEmergency, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY),
	}
	large := policyUpdate("p", "large", time.Now())
	payload := bytes.Repeat([]byte("large"), 4<<20) // 20 MiB, as a prototype's network has
	if large.Payload = payload; peer.Publish(t.Context(), oona.Message{Payload: large}) == nil {
		t.Error("an envelope has room for it: it needs no reference")
	}
	sum, err := r.library.SavePayload(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	large.Payload = nil
	old := policyUpdate("new id", "old", time.Now().Add(-300*24*time.Hour))
	for _, message := range []oona.Message{
		{Payload: large, Attributes: payloads.ReferTo(payload).Attributes()}, {Payload: old},
	} {
		if err := peer.Publish(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both are told of", func() bool {
		return len(toldEvents(both, "policy_update_stored")) == 1 && len(toldEvents(both, "policy_update_rejected")) == 1
	})
	stored, rejected := toldEvents(both, "policy_update_stored")[0].GetAttributes(), toldEvents(both, "policy_update_rejected")[0].GetAttributes()
	if stored["tamiyo_policy_version"] != "large" || stored["digest"] != sum || stored["bytes"] != strconv.Itoa(len(payload)) {
		t.Errorf("stored %v", stored)
	}
	if rejected["reason"] != policy.ReasonSuperseded || rejected["policy_id"] != "new id" {
		t.Errorf("rejected %v", rejected)
	}
	if kept, err := os.ReadFile(filepath.Join(r.settings.Tamiyo.PolicyDir, "payloads", sum)); err != nil || !bytes.Equal(kept, payload) {
		t.Errorf("%d bytes kept, %v", len(kept), err)
	}
	if applied := toldEvents(both, "policy_update_applied"); len(applied) > 0 {
		t.Errorf("applied: %v", applied)
	}
	if got := newestPolicy(r); got != "large" {
		t.Errorf("the newest is %q", got)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// A payload that cannot be read is refused, and the updates behind it are taken in.
func TestR16PayloadThatCannotBeReadHoldsNothingUp(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL}))
	peer := connect(t, redis.URL, "peer")
	both := []*listener{
		listen(t, peer, "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY),
		listen(t, peer, onEmergency, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY),
	}
	payload := []byte("unreadable")
	sum, err := r.library.SavePayload(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	spoilFile(t, filepath.Join(r.settings.Urza.ArtifactDir, sum+".payload"))
	first := policyUpdate("p", "v1", time.Now().Add(-time.Minute))
	first.Payload = nil
	for _, message := range []oona.Message{
		{Payload: first, Attributes: payloads.ReferTo(payload).Attributes()}, {Payload: policyUpdate("p", "v2", time.Now())},
	} {
		if err := peer.Publish(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the one behind is taken in", func() bool { return newestPolicy(r) == "v2" })
	eventually(t, "the first is refused", func() bool { return len(toldEvents(both, "policy_update_rejected")) == 1 })
	if got := toldEvents(both, "policy_update_rejected")[0].GetAttributes()["reason"]; got != policy.ReasonMissing {
		t.Errorf("refused as %s", got)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// spoilFile puts a file whose blocks are bad, for root as well, in the place of another.
func spoilFile(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Remove(path), os.Symlink("/proc/self/mem", path)); err != nil {
		t.Fatal(err)
	}
}
