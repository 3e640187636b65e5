package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

// recordedPerSecond bounds how many decisions are written down: that takes as long as to decide,
// and decisions come first. Runs report once an epoch, so that thousands of them are below it.
const recordedPerSecond = 1000

// Room decides on runs. It is safe for concurrent use.
type Room struct {
	config   Config
	seeds    *runrecord.Keeper[kasmina.Record]
	control  *runrecord.Keeper[tamiyo.Record]
	counters *kasmina.Counters
	writer   transcript.Writer
	writing  *rate.Limiter // of decisions that are recorded

	active  atomic.Int64 // unix milliseconds of the last decision
	decided chan struct{}

	demand    *demand
	said      said
	contested troubled
	damaged   troubled
}

// New returns a room in which nothing has happened yet.
func New(config Config) *Room {
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	if config.OnReport == nil {
		config.OnReport = func(string, trainer.Report) {}
	}
	if config.Prepare == nil {
		config.Prepare = func(string, [][]int) {}
	}
	if config.Each == nil {
		config.Each = sideBySide
	}
	room := &Room{
		config: config, counters: kasmina.NewCounters(), decided: make(chan struct{}, 1),
		writing: rate.NewLimiter(recordedPerSecond, recordedPerSecond),
		demand:  newDemand(config.Awaits, config.PrefetchTimeout),

		contested: troubled{lasts: true},
	}
	room.seeds = runrecord.New(runrecord.Config[kasmina.Record]{
		Part: PartKasmina, Store: config.Records, TTL: config.TTL, Grace: config.Grace,
		Lost: room.lost, Unstorable: room.unstorable, Damaged: room.noteDamage,
		Decode: kasmina.DecodeRecord, Encode: marshal[kasmina.Record], Publish: room.publish,
	})
	room.control = runrecord.New(runrecord.Config[tamiyo.Record]{
		Part: PartTamiyo, Store: config.Records, TTL: config.TTL, Grace: config.Grace,
		Lost: room.lost, Unstorable: room.unstorable, Damaged: room.noteDamage,
		Decode: tamiyo.DecodeRecord, Encode: marshal[tamiyo.Record], Publish: room.publish,
	})
	return room
}

func (r *Room) lost(run string, err error) {
	r.config.Logger.Error("what is stored of a run cannot be read; it is begun anew", "run", run, "error", err)
}

func (r *Room) unstorable(run string, err error) {
	r.config.Logger.Error("what was decided on a run is too large to keep", "run", run, "error", err)
}

func (r *Room) noteDamage(run string, err error) { r.damaged.note(run, err.Error(), time.Now()) }

// marshal writes no HTML escapes: names may be full of what they would make longer.
func marshal[R any](record *R) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(record)
	return bytes.TrimRight(text.Bytes(), "\n"), err
}

// Counters are what this process has seen of seeds, commands and requests.
func (r *Room) Counters() *kasmina.Counters { return r.counters }

// publish sends outputs: field reports by way of their log, everything else at
// once.
func (r *Room) publish(ctx context.Context, outputs []runrecord.Output) error {
	messages := make([]oona.Message, 0, len(outputs))
	asks := func(o runrecord.Output) bool { _, asks := o.Payload.(*leyline.KernelPrefetchRequest); return asks }
	if slices.ContainsFunc(outputs, asks) {
		if err := r.demand.await(ctx); err != nil {
			return err
		}
	}
	for _, output := range outputs {
		if report, ok := output.Payload.(*leyline.FieldReport); ok {
			if err := r.config.KeepReport(ctx, report); err != nil {
				return fmt.Errorf("keep field report %s: %w", report.GetReportId(), err)
			}
			continue
		}
		message, err := r.message(output)
		if err != nil {
			return err
		}
		messages = append(messages, message)
	}
	if len(messages) == 0 {
		return nil
	}
	return r.shed(r.config.Publish(ctx, messages...), messages)
}

func (r *Room) message(output runrecord.Output) (oona.Message, error) {
	switch payload := output.Payload.(type) {
	case *leyline.TelemetryPacket:
		message := r.config.Route(payload)
		message.Once = output.Once
		return message, nil
	case *leyline.AdaptationCommand:
		command, ok := proto.Clone(payload).(*leyline.AdaptationCommand)
		if !ok {
			return oona.Message{}, fmt.Errorf("clone of a command is %T", payload)
		}
		if err := r.config.Keyring.SignCommand(command); err != nil {
			return oona.Message{}, fmt.Errorf("sign command %s: %w", command.GetCommandId(), err)
		}
		return oona.Message{Payload: command, Attributes: output.Attributes}, nil
	default:
		return oona.Message{Payload: output.Payload, Attributes: output.Attributes}, nil
	}
}

// shed forgives that messages found no room on their streams, or never will find
// any: publishing them until they do would keep the run from being decided on. A
// request or a command without effect is made again; telemetry goes the way of
// packets that no record keeps.
func (r *Room) shed(err error, messages []oona.Message) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return r.forgiven(err, messages)
	}
	var left []error
	for _, single := range joined.Unwrap() {
		left = append(left, r.forgiven(single, messages))
	}
	return errors.Join(left...)
}

func (r *Room) forgiven(err error, messages []oona.Message) error {
	refused, ok := errors.AsType[*oona.PublishError](err)
	if full := errors.Is(err, oona.ErrOverloaded) || errors.Is(err, oona.ErrRateLimited); ok && full {
		if packet, ok := messages[refused.Index].Payload.(*leyline.TelemetryPacket); ok {
			r.config.Offer(packet)
			return nil
		}
	}
	for _, kind := range []error{oona.ErrOverloaded, oona.ErrRateLimited, oona.ErrTooLarge, oona.ErrNotPublishable} {
		if errors.Is(err, kind) {
			r.config.Logger.Warn("output of a run not published", "error", err)
			return nil
		}
	}
	return err
}

// orders are a decision's orders as signed commands.
func (r *Room) orders(orders []trainer.Order, now time.Time) ([]*leyline.AdaptationCommand, error) {
	commands := make([]*leyline.AdaptationCommand, len(orders))
	for i, order := range orders {
		command := order.Command()
		command.CommandId = uuid.NewString()
		command.IssuedAt = timestamppb.New(now)
		if err := r.config.Keyring.SignCommand(command); err != nil {
			return nil, fmt.Errorf("sign order %d of run %q: %w", order.Number, order.Run, err)
		}
		commands[i] = command
	}
	return commands, nil
}

// decide hands a message to Kasmina's core.
func (r *Room) decide(ctx context.Context, run string, message kasmina.Message) (kasmina.Decision, error) {
	r.noteActive()
	var decision kasmina.Decision
	_, err := r.seeds.Step(ctx, run, r.core(ctx, message, &decision))
	if errors.Is(err, oona.ErrTooLarge) { // the same decision would come of it again
		return kasmina.Decision{}, oona.Permanent(err)
	}
	return decision, err
}

// observe counts a decision that stands, and tells what no record keeps because
// it may be lost.
func (r *Room) observe(ctx context.Context, decision kasmina.Decision, spare []*leyline.TelemetryPacket) {
	r.counters.Observe(decision)
	if decision.Record != nil { // otherwise a command was refused: see refused
		r.logEvents(ctx, decision.Record.Run, decision.Packets)
	}
	for _, packet := range spare {
		r.config.Offer(packet)
	}
}

const (
	// packetRoom is the room for telemetry beside the largest record that Kasmina makes.
	packetRoom = 24 << 10
	// otherOutputs is the room for requests.
	otherOutputs = 8 << 10
)

// keepable splits the packets of a decision into those that its record keeps until
// they are published, and those that may be lost: they must not keep the decision
// itself from being stored.
func keepable(decision kasmina.Decision) (kept, spare []*leyline.TelemetryPacket) {
	if decision.Record == nil {
		return nil, decision.Packets
	}
	size, room := 0, packetRoom
	for i, packet := range decision.Packets {
		size += proto.Size(packet)
		if size > room && room == packetRoom {
			room = max(room+1, roomBeside(decision.Record))
		}
		if size > room {
			return decision.Packets[:i], decision.Packets[i:]
		}
	}
	return decision.Packets, nil
}

// roomBeside is what a record leaves for packets, which take a third more in it.
func roomBeside(record *kasmina.Record) int {
	text, err := marshal(record)
	if err != nil {
		return 0
	}
	return (oona.DefaultMaxRecord - otherOutputs - len(text)) * 3 / 4
}

// core is a decision of Kasmina's as the keeper of its records wants it.
func (r *Room) core(
	ctx context.Context, message kasmina.Message, to *kasmina.Decision,
) runrecord.Decide[kasmina.Record] {
	return func(record *kasmina.Record) (runrecord.Outcome[kasmina.Record], error) {
		now := r.config.Now()
		decision := r.config.Core.Decide(record, message, now)
		*to = decision
		kept, spare := keepable(decision)
		outcome := runrecord.Outcome[kasmina.Record]{
			Record: decision.Record, Due: decision.Due, Stands: func() { r.observe(ctx, decision, spare) },
		}
		for _, request := range decision.Requests {
			outcome.Outputs = append(outcome.Outputs,
				runrecord.Output{Payload: request.Request, Attributes: request.Attributes})
		}
		for _, packet := range kept {
			outcome.Outputs = append(outcome.Outputs, runrecord.Output{Payload: packet, Once: packet.GetPacketId()})
		}
		if known := record != nil || decision.Record != nil; known && outcome.Due.IsZero() {
			outcome.Due = now.Add(listed)
		}
		if decision.Record == nil { // nothing to keep them in: see observe
			outcome.Outputs = nil
		}
		var err error
		outcome.Orders, err = r.orders(decision.Orders, now)
		return outcome, err
	}
}
