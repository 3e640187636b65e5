package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
)

// permissions are the last words on the germinations of one report, one for each blueprint: each
// is counted, and a report may be decided on several times.
type permissions struct {
	ask   func(ctx context.Context, blueprintID string) error
	step  time.Duration // of the controller; 0: a permission may take as long as the report
	known map[string]error
}

// permitSteps is how many steps a permission may take. A seed that is left out is one that its run
// waits for, and gives up in the end: a report that is a little late costs less.
const permitSteps = 10

// refused is why a command must not be sent; nil: it may be. It has steps of its own: what a
// policy in the shadow takes of the controller's keeps no seed from being begun.
func (p *permissions) refused(ctx context.Context, command *leyline.AdaptationCommand) error {
	operation := command.GetSeedOperation()
	if operation.GetOperation() != leyline.SeedOperation_SEED_OP_GERMINATE {
		return nil
	}
	id := operation.GetBlueprintId()
	if err, asked := p.known[id]; asked {
		return err
	}
	step, cancel := within(ctx, permitSteps*p.step)
	defer cancel()
	err := p.ask(step, id)
	p.known[id] = err
	return err
}

// within bounds what is asked; 0 does not.
func within(ctx context.Context, step time.Duration) (context.Context, context.CancelFunc) {
	if step <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, step)
}

const (
	eventIssued    = "command_issued"
	eventExplained = "decision_explained"
	eventLeftOut   = "germination_left_out"
)

// leftOut is a germination that the controller decided on and that was not permitted.
type leftOut struct {
	command *leyline.AdaptationCommand
	reason  error
}

func (l leftOut) why() string { return strings.ToValidUTF8(fmt.Sprintf("%.256s", l.reason), "") }

// corrects has the packets of a decision not tell that it was sent.
func (l leftOut) corrects(packets []*leyline.TelemetryPacket) {
	operation, annotations := l.command.GetSeedOperation(), l.command.GetAnnotations()
	for _, packet := range packets {
		packet.Events = slices.DeleteFunc(packet.GetEvents(), func(e *leyline.TelemetryEvent) bool {
			return e.GetDescription() == eventIssued && e.GetAttributes()["command_id"] == l.command.GetCommandId()
		})
		for _, event := range packet.GetEvents() {
			if event.GetDescription() != eventExplained {
				continue
			}
			said := operation.GetBlueprintId() + " at " + annotations[trainer.AnnotationSlot] + ": " + l.why()
			if before := event.GetAttributes()["left_out"]; before != "" {
				said = before + "; " + said
			}
			event.Attributes["left_out"] = said
		}
	}
}

// packet tells of it.
func (l leftOut) packet(run string) *leyline.TelemetryPacket {
	event := telemetry.Event(eventLeftOut, leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
		"training_run_id", run, "command_id", l.command.GetCommandId(), "seed_id", l.command.GetTargetSeedId(),
		"slot", l.command.GetAnnotations()[trainer.AnnotationSlot],
		"blueprint_id", l.command.GetSeedOperation().GetBlueprintId(), "reason", l.why())
	return telemetry.New("tamiyo", "tamiyo-left-out").About(l.command.GetCommandId()).
		Level(event.GetLevel()).Indicator("training_run_id", run).WithEvents(event).Build()
}
