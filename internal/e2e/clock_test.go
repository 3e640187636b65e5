package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// newWorldAt is a world whose Redis goes by a clock of its own.
func newWorldAt(t *testing.T, clock *redistest.Clock, redisArgs ...string) *world {
	t.Helper()
	server := redistest.StartWith(t, clock, redisArgs...)
	return worldOn(t, server)
}

// alarmed reports whether /status has an alarm of this name.
func (w *world) alarmed(name string) bool {
	return w.metric(`weatherlight_alarm{alarm="`+name+`"}`) > 0
}

// sendDated publishes a message in an envelope that says when it was signed.
func (w *world) sendDated(stream string, kind uint64, message proto.Message, signed time.Time) {
	w.t.Helper()
	payload, err := proto.Marshal(message)
	if err != nil {
		w.t.Fatal(err)
	}
	sealed := envelope(kind, payload, "stream", stream, "issued_at_ms", strconv.FormatInt(signed.UnixMilli(), 10),
		"nonce", fmt.Sprint("nonce-", time.Now().UnixNano()))
	w.bus.do(addCommand(stream, sealed, sign(secret, sealed))...)
}

// busTime is the clock of the Redis.
func (w *world) busTime() time.Time {
	w.t.Helper()
	reply, _ := w.bus.do("TIME").([]any)
	text, _ := reply[0].(string)
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return time.Unix(seconds, 0)
}

// TestR30ClocksApartAndEverythingIsHeard moves the clock of a running Redis. Peers
// that date by their own clock and peers that date by the bus's are heard all the
// same, and an alarm says what is wrong.
func TestR30ClocksApartAndEverythingIsHeard(t *testing.T) {
	begin(t)
	clock := redistest.NewClock(t)
	w := newWorldAt(t, clock)
	w.bootForged()
	ring, err := signing.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	const each = 3
	heard := 0
	for _, ahead := range []time.Duration{-15 * time.Second, 15 * time.Second, -10 * time.Minute, 10 * time.Minute} {
		clock.Set(ahead)
		moved := time.Now()
		for i := range each {
			for name, now := range map[string]time.Time{"own": time.Now(), "bus": w.busTime()} {
				id := fmt.Sprintf("%v-%s-%d", ahead, name, i)
				halt := &leyline.EmergencySignal{
					Version: 1, Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT, Reason: id, Origin: "e2e",
					RunId: "run-" + id, TriggeredAt: timestamppb.New(now),
				}
				w.sendDated(streamEmergency, typeEmergency, halt, now)
				lift := &leyline.AdaptationCommand{
					Version: 1, CommandId: id, CommandType: leyline.CommandType_COMMAND_EMERGENCY, IssuedBy: "e2e",
					IssuedAt: timestamppb.New(now), Annotations: map[string]string{"level": "EMERGENCY_LEVEL_NOTICE"},
				}
				if err := ring.SignCommand(lift); err != nil {
					t.Fatal(err)
				}
				w.sendDated(streamNormal, typeCommand, lift, now)
				asked := kernelRequest(id, missing, "run-1", now)
				request := envelope(typeRequest, asked)
				w.bus.do(addCommand(streamRequests, request, sign(secret, request))...)
				heard++
			}
		}
		for _, stream := range []string{streamEmergency, streamNormal, streamRequests} {
			w.settled(stream, patience)
		}
		for _, e := range w.bus.entries(streamDeadLetter) {
			t.Errorf("%v: dead letter of %s, %s: %s", ahead, e.fields["origin_stream"], e.fields["reason"], e.fields["error"])
		}
		if got := w.metric("weatherlight_emergency_detections_total"); got != float64(heard) {
			t.Errorf("%v: %v signals of %d are heard", ahead, got, heard)
		}
		eventually(t, fmt.Sprintf("an alarm at %v", ahead), patience, func() bool { return w.alarmed("clock_offset") })
		took(t, "Redis's clock is moved", fmt.Sprintf("%v to the alarm", ahead), time.Since(moved), 0)
		eventually(t, "the offset is shown", patience, func() bool {
			told := time.Duration(w.metric("oona_clock_offset_seconds") * float64(time.Second))
			return (told - ahead).Abs() < 2*time.Second
		})
		if _, body := w.get("/status"); !strings.Contains(body, "clock_offset") {
			t.Errorf("/status says nothing of it: %s", tail(body))
		}
	}
	clock.Set(0)
	eventually(t, "the alarm ends", patience, func() bool { return !w.alarmed("clock_offset") })
	w.stop()
}
