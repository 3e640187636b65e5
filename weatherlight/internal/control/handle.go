package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

// maxRunLength bounds the name of a run, in bytes.
const maxRunLength = 128

// errNoRun is told of a state or a command that names no run.
var errNoRun = errors.New("no training_run_id")

// RunOf names the run that a delivery is about: deliveries of one run keep their
// order. It is empty for one that is about none.
func RunOf(d *oona.Delivery) string {
	switch m := d.Payload.(type) {
	case *leyline.SystemStatePacket:
		return m.GetTrainingRunId()
	case *leyline.AdaptationCommand:
		return kasmina.RunOfCommand(m)
	case *leyline.KernelArtifactReady:
		run, _ := kasmina.RunOfRequest(m.GetRequestId())
		return run
	case *leyline.KernelArtifactError:
		run, _ := kasmina.RunOfRequest(m.GetRequestId())
		return run
	case *leyline.EmergencySignal:
		return m.GetRunId()
	default:
		return ""
	}
}

// checkRun refuses names that no run may have. What names a run elsewhere, as commands
// do, is read without the blanks around it, so that one with blanks would be out of reach.
func checkRun(run string) error {
	switch name := strings.TrimSpace(run); {
	case name == "":
		return errNoRun
	case name == ".", name == "..": // no path of an address can have it
		return fmt.Errorf("training_run_id %q names a folder", run)
	case name != run:
		return fmt.Errorf("training_run_id %.128q has blanks around it", run)
	case len(run) > maxRunLength:
		return fmt.Errorf("training_run_id of %d bytes, at most %d", len(run), maxRunLength)
	default:
		return nil
	}
}

// State takes a report of a trainer: Kasmina looks at its seeds, then Tamiyo
// decides on growth.
func (r *Room) State(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	packet, ok := d.Payload.(*leyline.SystemStatePacket)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("state is %T", d.Payload))
	}
	run := packet.GetTrainingRunId()
	if err := checkRun(run); err != nil {
		return nil, oona.Permanent(err)
	}
	report, err := trainer.ReadReport(d.Attributes)
	grows := err == nil
	if err != nil && !errors.Is(err, trainer.ErrNoProtocol) {
		return nil, oona.Permanent(err)
	}
	decision, err := r.decide(ctx, run, kasmina.Report{
		Packet: packet, Report: report, Protocol: grows, Stored: d.Published,
		Issued: d.Issued,
	})
	if err != nil {
		return nil, err
	}
	if grows && decision.Ignored == "" {
		r.config.OnReport(run, report)
	}
	if decision.Ignored == kasmina.IgnoredSecond {
		r.contested.note(run, report.TrainerID, time.Now())
	}
	// A repetition may be one because Tamiyo's half failed: it knows its own.
	if decision.Ignored != "" && decision.Ignored != kasmina.IgnoredRepeated {
		return nil, nil
	}
	return nil, r.evaluate(ctx, run, d.Encoded, tamiyo.State{
		Packet: packet, Grows: grows, TrainerID: report.TrainerID, Number: report.Number,
		HostLayers: report.HostLayers, Slots: report.Slots, Grafts: report.Grafts,
		Patience: decision.Patience, Closed: decision.Closed, Held: decision.Held,
		Gone:  func(id string) string { return decision.Gone[id] },
		Lives: func(id string) bool { return slices.Contains(decision.Lives, id) },
	})
}

// evaluate lets the controller decide on a state, of which encoded is the packet.
func (r *Room) evaluate(ctx context.Context, run string, encoded []byte, state tamiyo.State) error {
	permissions := permissions{ask: r.config.Permit, step: r.config.StepTimeout, known: make(map[string]error)}
	_, err := r.control.Step(ctx, run, func(record *tamiyo.Record) (runrecord.Outcome[tamiyo.Record], error) {
		begun := time.Now()
		decision, recording, err := r.judge(ctx, record, state)
		if err != nil {
			return runrecord.Outcome[tamiyo.Record]{}, err
		}
		took := time.Since(begun)
		var left []leftOut
		outcome := runrecord.Outcome[tamiyo.Record]{
			Record: decision.Record, Stands: func() {
				r.record(run, encoded, &decision, recording)
				r.tell(ctx, run, decision.Packets, left, took)
				if decision.Record != nil && state.Grows {
					r.config.Prepare(run, decision.Record.Next(state.Slots))
				}
			},
		}
		for _, command := range decision.Commands {
			if err := permissions.refused(ctx, command); err != nil {
				left = append(left, leftOut{command, err})
				continue
			}
			outcome.Outputs = append(outcome.Outputs, runrecord.Output{Payload: command})
		}
		for _, report := range decision.Reports {
			outcome.Outputs = append(outcome.Outputs, runrecord.Output{Payload: report})
		}
		return outcome, nil
	})
	return err
}

// judge lets the controller decide, which may ask the library and the policies for as long as a
// step may take. A step that was stopped is no decision. Without a recording there was no time for one.
func (r *Room) judge(
	ctx context.Context, record *tamiyo.Record, state tamiyo.State,
) (tamiyo.Decision, *transcript.Recording, error) {
	step, cancel := within(ctx, r.config.StepTimeout)
	defer cancel()
	if r.config.Blueprint != nil {
		state.Blueprint = func(id string) (tamiyo.Candidate, bool, error) { return r.config.Blueprint(step, id) }
	}
	state.Consult = func(policy tamiyo.Policy, rows [][]float32) ([][]float32, error) { return policy.Judge(step, rows) }
	run := state.Packet.GetTrainingRunId()
	candidates := func(slot []int) ([]tamiyo.Candidate, error) { return r.config.Candidates(step, run, slot) }
	now := r.config.Now()
	if !r.writing.AllowN(now, 1) {
		return r.config.Controller.Decide(record, state, now, candidates), nil, ctx.Err()
	}
	decision, recording := transcript.Decide(r.config.Controller, record, state, now, candidates)
	return decision, recording, ctx.Err()
}

// record offers what a decision was made from, so that it can be made again. It comes before what
// is told of the decision is corrected.
func (r *Room) record(run string, encoded []byte, decision *tamiyo.Decision, recording *transcript.Recording) {
	if decision.Record == nil || recording == nil {
		return
	}
	recorded, err := r.writer.Packet(recording, encoded)
	if err != nil {
		r.config.Logger.Warn("decision not recorded", "run", run, "error", err)
		return
	}
	r.config.Offer(recorded)
}

// tell offers the packets of a decision that took so long, but for what was left out of it.
func (r *Room) tell(ctx context.Context, run string, packets []*leyline.TelemetryPacket, left []leftOut, took time.Duration) {
	for _, packet := range packets {
		packet.Metrics = append(packet.Metrics, telemetry.MetricPoints([]telemetry.Figure{tamiyo.Latency(took)})...)
	}
	for _, germination := range left {
		germination.corrects(packets)
		packets = append(packets, germination.packet(run))
	}
	r.logEvents(ctx, run, packets)
	for _, packet := range packets {
		r.config.Offer(packet)
	}
}

// Command takes a command. One of our own that is refused is told of in
// telemetry; a stranger's goes to the dead letters besides.
func (r *Room) Command(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	command, ok := d.Payload.(*leyline.AdaptationCommand)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("command is %T", d.Payload))
	}
	run := kasmina.RunOfCommand(command)
	begun := time.Now()
	rejected, err := r.verify(ctx, run, command)
	r.counters.Verified(time.Since(begun))
	switch {
	case err != nil:
		return nil, err
	case rejected != nil:
		return nil, r.reject(rejected)
	}
	message := kasmina.Command{Command: command}
	if run == "" && command.GetTargetSeedId() == "" && command.GetSeedOperation() == nil {
		return nil, r.forAll(ctx, message)
	}
	decision, err := r.decide(ctx, run, message)
	if err != nil {
		return nil, err
	}
	if decision.Rejected != nil {
		return nil, r.refused(decision.Rejected)
	}
	return nil, nil
}

// verify checks a command. One that is untimely by the bus's clock may have been dated
// by a clock like ours, of a peer that does not ask the bus: it goes by the bus's from
// here on. Or its run is one whose trainer reports seldom, which its record tells.
func (r *Room) verify(ctx context.Context, run string, command *leyline.AdaptationCommand) (*kasmina.RejectedError, error) {
	bus, here := r.config.Now(), time.Now()
	rejected := r.config.Core.Verify(nil, command, bus)
	if rejected == nil || !rejected.Untimely() {
		return rejected, nil
	}
	if r.config.Core.Verify(nil, command, here) == nil {
		command.IssuedAt = timestamppb.New(command.GetIssuedAt().AsTime().Add(bus.Sub(here)))
		return nil, nil
	}
	if checkRun(run) != nil {
		return rejected, nil
	}
	record, err := r.seeds.Peek(ctx, run)
	if err != nil && !errors.Is(err, kasmina.ErrRecord) {
		return nil, fmt.Errorf("look at how often run %q is reported: %w", run, err)
	}
	return r.config.Core.Verify(record, command, bus), nil
}

// reject tells of a command that was refused before any record was looked at.
func (r *Room) reject(rejected *kasmina.RejectedError) error {
	decision := r.config.Core.Reject(rejected, r.config.Now())
	r.counters.Observe(decision)
	for _, packet := range decision.Packets {
		r.config.Offer(packet)
	}
	return r.refused(rejected)
}

func (r *Room) refused(rejected *kasmina.RejectedError) error {
	if rejected.Ours {
		r.config.Logger.Info("command refused", "command", rejected.CommandID, "seed", rejected.SeedID,
			"reason", rejected.Reason, "detail", rejected.Detail)
		return nil
	}
	return oona.Permanent(rejected)
}

// Ready takes a kernel that the library announces. An answer to somebody else's
// request is nothing to do.
func (r *Room) Ready(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	ready, ok := d.Payload.(*leyline.KernelArtifactReady)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("answer is %T", d.Payload))
	}
	run, ours := kasmina.RunOfRequest(ready.GetRequestId())
	if !ours {
		return nil, nil
	}
	_, err := r.decide(ctx, run, kasmina.Ready{Ready: ready, Attributes: d.Attributes})
	return nil, err
}

// Refusal takes the library's word that there is no such kernel.
func (r *Room) Refusal(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	refusal, ok := d.Payload.(*leyline.KernelArtifactError)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("answer is %T", d.Payload))
	}
	run, ours := kasmina.RunOfRequest(refusal.GetRequestId())
	if !ours {
		return nil, nil
	}
	_, err := r.decide(ctx, run, kasmina.Refusal{Refusal: refusal})
	return nil, err
}

// Answers says whether a delivery answers a request of ours: on a shared bus
// most are for somebody else.
func Answers(d *oona.Delivery) bool {
	answer, ok := d.Payload.(interface{ GetRequestId() string })
	if !ok {
		return true
	}
	_, ours := kasmina.RunOfRequest(answer.GetRequestId())
	return ours
}

// Emergency acts on the run that an emergency names, or on all of them.
func (r *Room) Emergency(ctx context.Context, run string, emergency kasmina.Emergency) error {
	if run == "" {
		return r.forAll(ctx, emergency)
	}
	if err := checkRun(run); err != nil {
		return oona.Permanent(err)
	}
	emergency.Run = run
	_, err := r.decide(ctx, run, emergency)
	return err
}

// forAll hands a message to every run that there is. A run that can never take it does
// not keep the others from it.
func (r *Room) forAll(ctx context.Context, message kasmina.Message) error {
	runs, err := r.seeds.Runs(ctx, "", math.MaxInt)
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	failures := make([]error, len(runs))
	r.config.Each(len(runs), func(i int) {
		_, failures[i] = r.decide(ctx, runs[i], message)
		if errors.Is(failures[i], oona.ErrTooLarge) || errors.Is(failures[i], oona.ErrDamaged) {
			failures[i] = nil // it was told of
		}
	})
	return errors.Join(failures...)
}

// sideBySide is the default of Config.Each.
func sideBySide(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(runsAtOnce)
	for i := range n {
		group.Go(func() error { do(i); return nil })
	}
	_ = group.Wait() // none of them fails
}

// runsAtOnce bounds the runs that a message to all of them is decided on side by side
// for.
const runsAtOnce = 16
