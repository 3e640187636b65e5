package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
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

// State takes a report of a trainer: Kasmina looks at its seeds, then Tamiyo
// decides on growth.
func (r *Room) State(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	packet, ok := d.Payload.(*leyline.SystemStatePacket)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("state is %T", d.Payload))
	}
	run := packet.GetTrainingRunId()
	if strings.TrimSpace(run) == "" {
		return nil, oona.Permanent(errNoRun)
	}
	if len(run) > maxRunLength {
		return nil, oona.Permanent(fmt.Errorf("training_run_id of %d bytes, at most %d", len(run), maxRunLength))
	}
	report, err := trainer.ReadReport(d.Attributes)
	grows := err == nil
	if err != nil && !errors.Is(err, trainer.ErrNoProtocol) {
		return nil, oona.Permanent(err)
	}
	decision, err := r.decide(ctx, run, kasmina.Report{
		Packet: packet, Report: report, Protocol: grows, Issued: d.Issued, Stored: d.Published,
	})
	if err != nil {
		return nil, err
	}
	if decision.Ignored != "" {
		return nil, nil
	}
	return nil, r.evaluate(ctx, run, tamiyo.State{
		Packet: packet, Grows: grows, TrainerID: report.TrainerID, Number: report.Number,
		HostLayers: report.HostLayers, Slots: report.Slots, Grafts: report.Grafts,
	})
}

// evaluate lets the controller decide on a state.
func (r *Room) evaluate(ctx context.Context, run string, state tamiyo.State) error {
	candidates := func(slot []int) ([]tamiyo.Candidate, error) { return r.config.Candidates(ctx, slot) }
	var decision tamiyo.Decision
	var took time.Duration
	_, err := r.control.Step(ctx, run, func(record *tamiyo.Record) (runrecord.Outcome[tamiyo.Record], error) {
		begun := time.Now()
		decision = r.config.Controller.Decide(record, state, r.config.Now(), candidates)
		took = time.Since(begun)
		outcome := runrecord.Outcome[tamiyo.Record]{Record: decision.Record}
		for _, command := range decision.Commands {
			if r.permitted(ctx, command) {
				outcome.Outputs = append(outcome.Outputs, runrecord.Output{Payload: command})
			}
		}
		for _, report := range decision.Reports {
			outcome.Outputs = append(outcome.Outputs, runrecord.Output{Payload: report})
		}
		return outcome, nil
	})
	if err != nil {
		return err
	}
	for _, packet := range decision.Packets {
		packet.Metrics = append(packet.Metrics, &leyline.MetricPoint{
			Name: "tamiyo.inference.latency_ms", Value: float64(took.Microseconds()) / 1e3, Unit: "ms",
		})
		r.config.Offer(packet)
	}
	return nil
}

// permitted asks for the last word on a germination.
func (r *Room) permitted(ctx context.Context, command *leyline.AdaptationCommand) bool {
	operation := command.GetSeedOperation()
	if operation.GetOperation() != leyline.SeedOperation_SEED_OP_GERMINATE {
		return true
	}
	if err := r.config.Permit(ctx, operation.GetBlueprintId()); err != nil {
		r.config.Logger.Warn("germination left out", "command", command.GetCommandId(), "error", err)
		return false
	}
	return true
}

// Command takes a command. One of our own that is refused is told of in
// telemetry; a stranger's goes to the dead letters besides.
func (r *Room) Command(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	command, ok := d.Payload.(*leyline.AdaptationCommand)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("command is %T", d.Payload))
	}
	begun := time.Now()
	rejected := r.config.Core.Verify(command, r.config.Now())
	r.counters.Verified(time.Since(begun))
	if rejected != nil {
		return nil, r.reject(rejected)
	}
	message := kasmina.Command{Command: command}
	run := kasmina.RunOfCommand(command)
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
	_, err := r.decide(ctx, run, emergency)
	return err
}

// pageOfRuns is how many runs are asked for at once.
const pageOfRuns = 256

// forAll hands a message to every run that there is.
func (r *Room) forAll(ctx context.Context, message kasmina.Message) error {
	var failures []error
	for after := ""; ; {
		runs, err := r.seeds.Runs(ctx, after, pageOfRuns)
		if err != nil {
			return errors.Join(append(failures, fmt.Errorf("list runs: %w", err))...)
		}
		failures = append(failures, r.forEach(ctx, runs, message))
		if len(runs) < pageOfRuns {
			return errors.Join(failures...)
		}
		after = runs[len(runs)-1]
	}
}

// runsAtOnce is the default of Config.RunsAtOnce.
const runsAtOnce = 16

func (r *Room) forEach(ctx context.Context, runs []string, message kasmina.Message) error {
	failures := make([]error, len(runs))
	var group errgroup.Group
	group.SetLimit(r.config.RunsAtOnce)
	for i, run := range runs {
		if r.config.RunsAtOnce == 1 {
			_, failures[i] = r.decide(ctx, run, message)
			continue
		}
		group.Go(func() error {
			_, failures[i] = r.decide(ctx, run, message)
			return nil
		})
	}
	_ = group.Wait() // each has its own place for an error
	return errors.Join(failures...)
}
