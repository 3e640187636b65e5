package chaos_test

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/chaos"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// kind is one kind of message: what a peer sends, and where its effect shows.
type kind struct {
	name string
	// counts: a second effect would show. A report is decided on by compare and set, and
	// Nissa counts a packet once by its id.
	counts  bool
	message func(f *flow, id string, n int) oona.Message
	// look notes the effects that can be seen by now.
	look func(f *flow, l *account)
}

// kinds are the columns of the matrix.
var kinds = []kind{
	{"kernel request", true, kernelRequest, answersOf},
	{"report", false, report1, recordsOf},
	{"command", true, haltCommand, ordersOf},
	{"emergency", true, emergencySignal, eventsOf("emergency_signal_received", "reason")},
	{"policy", true, policyUpdate, eventsOf("policy_update_stored", "policy_id")},
	{"telemetry", false, telemetryPacket, shownBy},
}

func kernelRequest(f *flow, id string, n int) oona.Message {
	return oona.Message{Payload: &leyline.KernelPrefetchRequest{
		RequestId: id, BlueprintId: f.blueprints[n%len(f.blueprints)], TrainingRunId: "chaos", IssuedAt: timestamppb.Now(),
	}}
}

// report1 is the first report of a run of its own.
func report1(_ *flow, id string, _ int) oona.Message {
	report := trainer.Report{TrainerID: id, Number: 1, KernelAccess: []string{"path"}}
	return oona.Message{Once: id, Attributes: report.Attributes(), Payload: &leyline.SystemStatePacket{
		Version: 1, PacketId: id, SourceSubsystem: "tolaria", TrainingRunId: id,
	}}
}

// haltCommand halts a run of its own, which has reported before.
func haltCommand(f *flow, id string, _ int) oona.Message {
	command := &leyline.AdaptationCommand{
		Version: 1, CommandId: id, CommandType: leyline.CommandType_COMMAND_EMERGENCY, IssuedBy: "chaos", IssuedAt: timestamppb.Now(),
		Annotations: map[string]string{"level": "EMERGENCY_LEVEL_HALT", "training_run_id": id},
	}
	if err := f.ring.SignCommand(command); err != nil {
		f.site.t.Error(err)
	}
	return oona.Message{Once: id, Payload: command}
}

func emergencySignal(_ *flow, id string, _ int) oona.Message {
	return oona.Message{Once: id, Payload: &leyline.EmergencySignal{
		Version: 1, Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT, Reason: id, Origin: "chaos", RunId: id, TriggeredAt: timestamppb.Now(),
	}}
}

func policyUpdate(_ *flow, id string, _ int) oona.Message {
	return oona.Message{Once: id, Payload: &leyline.PolicyUpdate{
		Version: 1, PolicyId: id, IssuedAt: timestamppb.Now(), TamiyoPolicyVersion: id, Payload: []byte("opaque"),
	}}
}

func telemetryPacket(_ *flow, id string, n int) oona.Message {
	return oona.Message{Once: id, Payload: &leyline.TelemetryPacket{
		PacketId: id, SourceSubsystem: "chaos", Timestamp: timestamppb.Now(),
		Metrics: []*leyline.MetricPoint{{Name: "chaos.probe", Value: float64(n), Attributes: map[string]string{"probe": id}}},
	}}
}

// answersOf finds requests that were answered with their kernel. Another answer is none.
func answersOf(f *flow, l *account) {
	f.entries(l, streams.KernelReady, func(_ string, payload proto.Message) {
		if ready, is := payload.(*leyline.KernelArtifactReady); is {
			l.effect(ready.GetRequestId())
		}
	})
}

// recordsOf finds runs that Kasmina knows.
func recordsOf(f *flow, l *account) {
	for _, run := range l.missing() {
		if n, err := keyed(f.site.redis, "EXISTS", "weatherlight:kasmina:{"+trainer.StreamPrefix+run+"}").AsInt64(); err == nil && n > 0 {
			l.effect(run)
		}
	}
}

// ordersOf finds the orders to halt. An order that is sent again has its number.
func ordersOf(f *flow, l *account) {
	for _, run := range l.sent() {
		f.entries(l, trainer.StreamPrefix+run, func(_ string, payload proto.Message) {
			order, is := payload.(*leyline.AdaptationCommand)
			if is && order.GetCommandType() == leyline.CommandType_COMMAND_EMERGENCY && l.first(run+order.GetAnnotations()["order"]) {
				l.effect(run)
			}
		})
	}
}

// eventsOf finds what the service tells of messages. A packet that was stored again has
// its id, by which every reader drops it.
func eventsOf(description, attribute string) func(*flow, *account) {
	return func(f *flow, l *account) {
		for _, stream := range []string{streams.Telemetry, streams.Emergency} {
			f.entries(l, stream, func(_ string, payload proto.Message) {
				packet, _ := payload.(*leyline.TelemetryPacket)
				for _, event := range packet.GetEvents() {
					if event.GetDescription() == description && l.first(packet.GetPacketId()) {
						l.effect(event.GetAttributes()[attribute])
					}
				}
			})
		}
	}
}

// shownBy finds packets that Nissa shows.
func shownBy(f *flow, l *account) {
	_, body, err := get(f.site.nissa, "/metrics")
	if err != nil {
		return
	}
	for line := range strings.Lines(body) {
		if _, rest, found := strings.Cut(line, `probe="`); found && strings.HasPrefix(line, "chaos_probe{") {
			id, _, _ := strings.Cut(rest, `"`)
			if l.first(id) {
				l.effect(id)
			}
		}
	}
}

// entries passes what a stream holds since the last look of the account.
func (f *flow) entries(l *account, stream string, pass func(id string, payload proto.Message)) {
	for {
		page, err := keyed(f.site.redis, "XRANGE", stream, l.after(stream), "+", "COUNT", "500").AsXRange()
		if err != nil || len(page) == 0 {
			return
		}
		for _, e := range page {
			l.read(stream, e.ID)
			if payload, err := payloadOf(f.ring, e); err == nil {
				pass(e.ID, payload)
			}
		}
	}
}

func payloadOf(ring *signing.Keyring, e rueidis.XRangeEntry) (proto.Message, error) {
	raw := []byte(e.FieldValues["payload"])
	if err := ring.VerifyEnvelope(raw, e.FieldValues["signature"]); err != nil {
		return nil, err
	}
	var envelope leyline.BusEnvelope
	if err := proto.Unmarshal(raw, &envelope); err != nil {
		return nil, err
	}
	payload := leyline.NewMessage(envelope.GetMessageType())
	if payload == nil {
		return nil, errors.New("unknown type")
	}
	return payload, proto.Unmarshal(envelope.GetPayload(), payload)
}

// account is what became of the messages of one kind.
type account struct {
	kind

	history *chaos.History
	guarded accountState
}

// cell is what a fault did to a kind of message.
type cell struct {
	sent, lost, twice, late int
	missing                 []string
	worst                   time.Duration // after the end of the fault
}

func (c cell) text(k kind) string {
	twice := "–"
	if k.counts {
		twice = strconv.Itoa(c.twice)
	}
	return strconv.Itoa(c.sent) + ": " + strconv.Itoa(c.lost) + " / " + twice + " / " + strconv.Itoa(c.late)
}

// cell judges the messages by when the fault was over.
func (l *account) cell(healed time.Time) cell {
	v := l.history.Verdict()
	c := cell{sent: v.Acknowledged, lost: v.Lost, twice: v.Twice, missing: l.history.Lost()}
	c.missing = c.missing[:min(3, len(c.missing))]
	l.guarded.mu.Lock()
	defer l.guarded.mu.Unlock()
	for id, acked := range l.guarded.acked {
		due := acked
		if healed.After(due) {
			due = healed
		}
		seen, found := l.guarded.seen[id]
		if !found {
			continue
		}
		if seen.Sub(due) > healsWithin {
			c.late++
		}
		c.worst = max(c.worst, seen.Sub(due))
	}
	return c
}
