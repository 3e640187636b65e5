package weatherlight

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

const onPolicy = "oona.policy"

// leaveInHand publishes an update and has an instance die that has just read it.
func leaveInHand(t *testing.T, url, instance string, update *leyline.PolicyUpdate) {
	t.Helper()
	keyring, err := signing.NewKeyring(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	dying, err := oona.Connect(t.Context(), oona.Config{
		URL: url, Group: assembly.Group, Consumer: "weatherlight-" + instance, Keyring: keyring,
	})
	if err != nil {
		t.Fatal(err)
	}
	taken, end := make(chan struct{}), make(chan error, 1)
	ctx, die := context.WithCancel(t.Context())
	go func() {
		end <- dying.Consume(ctx, ctx, oona.Subscription{Stream: onPolicy, Handlers: only(
			leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE,
			func(work context.Context, _ *oona.Delivery) ([]oona.Message, error) {
				close(taken)
				<-work.Done()
				return nil, work.Err()
			})})
	}()
	if err := dying.Publish(t.Context(), oona.Message{Payload: update}); err != nil {
		t.Fatal(err)
	}
	<-taken
	die()
	if err := <-end; err != nil {
		t.Error(err)
	}
	if err := dying.Close(); err != nil {
		t.Error(err)
	}
}

// The order of updates is global: had the heir begun with a newer one, the older one, which
// the bus took first, would be refused for good.
func TestHeirTakesWhatTheDepartedHadInHandBeforeWhatIsNew(t *testing.T) {
	redis, begun := redistest.Start(t), time.Now().Add(-time.Minute)
	for i := range 3 {
		leaveInHand(t, redis.URL, fmt.Sprint("departed-", i), policyUpdate("p", fmt.Sprint("v", i), begun.Add(time.Duration(i)*time.Second)))
	}
	peer := connect(t, redis.URL, "peer")
	if err := peer.Publish(t.Context(), oona.Message{Payload: policyUpdate("p", "v3", begun.Add(3*time.Second))}); err != nil {
		t.Fatal(err)
	}
	heir := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL, "WEATHERLIGHT_INSTANCE": "heir"}))
	heard := []*listener{
		listen(t, peer, "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY),
		listen(t, peer, onEmergency, "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY),
	}
	eventually(t, "all that was accepted on the bus is settled", func() bool {
		return len(toldEvents(heard, "policy_update_stored"))+len(toldEvents(heard, "policy_update_rejected")) == 4
	})
	if refused := toldEvents(heard, "policy_update_rejected"); len(refused) > 0 || newestPolicy(heir) != "v3" {
		t.Errorf("the newest is %s, refused: %v", newestPolicy(heir), refused)
	}
	if err := heir.stop(t); err != nil {
		t.Error(err)
	}
}

// What was accepted is where an heir finds it, also one that was not there yet, and though the
// leader goes at once.
func TestHeirKnowsWhatAStoppedLeaderAccepted(t *testing.T) {
	redis, begun := redistest.Start(t), time.Now().Add(-time.Minute)
	instance := func(name string) *running {
		return start(t, newService(t, map[string]string{"REDIS_URL": redis.URL, "WEATHERLIGHT_INSTANCE": name}))
	}
	peer := connect(t, redis.URL, "peer")
	publish := func(version int) {
		t.Helper()
		update := policyUpdate("p", fmt.Sprint("v", version), begun.Add(time.Duration(version)*time.Second))
		if err := peer.Publish(t.Context(), oona.Message{Payload: update}); err != nil {
			t.Fatal(err)
		}
	}
	for version := range 3 {
		leader := instance(fmt.Sprint("leader-", version))
		if version > 0 {
			eventually(t, "the heir knows what was accepted", func() bool { return newestPolicy(leader) == fmt.Sprint("v", version-1) })
		}
		publish(version)
		eventually(t, "the leader has it", func() bool { return newestPolicy(leader) == fmt.Sprint("v", version) })
		if err := leader.stop(t); err != nil {
			t.Error(err)
		}
	}
}
