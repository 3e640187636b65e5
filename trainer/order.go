package trainer

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/esper-lite/weatherlight/leyline"
)

// Kind is what an order asks for.
type Kind string

// The orders. docs/trainers.md says what a graft does for each.
const (
	Attach    Kind = "attach"    // fetch, check and load the kernel, attach it in isolation
	Train     Kind = "train"     // go on in isolation
	BlendIn   Kind = "blend"     // blend, the share along its ramp
	Hold      Kind = "hold"      // share 1, weights at rest
	Judge     Kind = "judge"     // measure with and without on held-out data
	Keep      Kind = "keep"      // part of the model for good
	Tune      Kind = "tune"      // the whole network trains on, kept seeds included
	Drop      Kind = "drop"      // remove it, restore what it touched
	Pause     Kind = "pause"     // out of the output
	Resume    Kind = "resume"    // back into it
	Optimizer Kind = "optimizer" // hyperparameters from the next step on
	Rollback  Kind = "rollback"  // model and optimizer as before the seed
	Emergency Kind = "emergency" // level 3 pauses all seeds, level 4 halts
)

// IssuedBy is who issues orders.
const IssuedBy = "kasmina"

// Annotations of an order.
const (
	AnnotationRun       = "training_run_id"
	AnnotationSlot      = "slot"
	annotationStage     = "stage"
	annotationTrainerID = "trainer_id"
	annotationOrder     = "order"
	annotationPolicy    = "policy_version"
	annotationReason    = "reason"
	annotationResume    = "resume"
	annotationLevel     = "level"
	annotationRef       = "artifact_ref"
	annotationURL       = "artifact_url"
	annotationChecksum  = "checksum"
	annotationGuard     = "guard_digest"
	rollbackSeed        = "seed_id" // in the payload of a rollback
)

// Order is one order to a trainer, whole.
type Order struct {
	Kind      Kind   `json:"kind"`
	Run       string `json:"run"`
	TrainerID string `json:"trainer_id"`
	Number    uint64 `json:"number"` // counts up for each run

	Seed      string                     `json:"seed,omitempty"` // empty: the whole run
	Blueprint string                     `json:"blueprint,omitempty"`
	Slot      string                     `json:"slot,omitempty"`
	Stage     leyline.SeedLifecycleStage `json:"stage,omitempty"` // that the seed is to reach

	Reason        string        `json:"reason,omitempty"`
	PolicyVersion string        `json:"policy_version,omitempty"`
	Deadline      time.Duration `json:"deadline,omitempty"` // from the reading, in whole milliseconds; 0: none

	Kernel     Kernel             `json:"kernel,omitzero"`      // of an attach
	Blend      Blend              `json:"blend,omitzero"`       // of every order for a seed that is to be attached
	Schedule   Schedule           `json:"schedule,omitzero"`    // beside Blend
	Parameters map[string]float32 `json:"parameters,omitempty"` // of the kernel; of an optimizer order its hyperparameters
	Optimizer  string             `json:"optimizer,omitempty"`  // id of the optimizer

	Level leyline.EmergencyLevel `json:"level,omitempty"` // of an emergency
}

// Kernel says where an artifact lies and what its bytes must be.
type Kernel struct {
	Ref         string `json:"ref,omitempty"` // local path
	URL         string `json:"url,omitempty"` // http or https
	Checksum    string `json:"checksum"`      // lower-case hexadecimal SHA-256
	GuardDigest string `json:"guard_digest"`
}

// ErrNotAnOrder is returned for a command that is no order of Kasmina's.
var ErrNotAnOrder = errors.New("command is no order to a trainer")

// operations are the orders that travel as seed commands.
var operations = map[Kind]leyline.SeedOperation{
	Attach:  leyline.SeedOperation_SEED_OP_GERMINATE,
	Train:   leyline.SeedOperation_SEED_OP_START_TRAINING,
	BlendIn: leyline.SeedOperation_SEED_OP_START_GRAFTING,
	Hold:    leyline.SeedOperation_SEED_OP_STABILIZE,
	Judge:   leyline.SeedOperation_SEED_OP_EVALUATE,
	Keep:    leyline.SeedOperation_SEED_OP_FOSSILIZE,
	Tune:    leyline.SeedOperation_SEED_OP_FINE_TUNE,
	Drop:    leyline.SeedOperation_SEED_OP_CULL,
}

// Command is the order as an unsigned command; command_id and issued_at are the
// signer's to set.
func (o Order) Command() *leyline.AdaptationCommand {
	command := &leyline.AdaptationCommand{
		Version:             1,
		TargetSeedId:        o.Seed,
		ExecutionDeadlineMs: uint32(min(max(o.Deadline.Milliseconds(), 0), math.MaxUint32)),
		IssuedBy:            IssuedBy,
		Annotations: map[string]string{
			AnnotationRun:       o.Run,
			annotationTrainerID: o.TrainerID,
			annotationOrder:     strconv.FormatUint(o.Number, 10),
		},
	}
	o.annotate(command.Annotations)
	o.setPayload(command)
	return command
}

func (o Order) annotate(annotations map[string]string) {
	texts := map[string]string{
		AnnotationSlot: o.Slot, annotationReason: o.Reason, annotationPolicy: o.PolicyVersion,
		annotationRef: o.Kernel.Ref, annotationURL: o.Kernel.URL,
		annotationChecksum: o.Kernel.Checksum, annotationGuard: o.Kernel.GuardDigest,
	}
	for name, text := range texts {
		if text != "" {
			annotations[name] = text
		}
	}
	if o.Stage != leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN {
		annotations[annotationStage] = o.Stage.String()
	}
	if o.Kind == Attach {
		o.Blend.annotate(annotations)
		o.Schedule.annotate(annotations)
	}
}

func (o Order) setPayload(command *leyline.AdaptationCommand) {
	switch o.Kind {
	case Pause, Resume:
		command.CommandType = leyline.CommandType_COMMAND_PAUSE
		if o.Kind == Resume {
			command.Annotations[annotationResume] = "true"
		}
	case Optimizer:
		command.CommandType = leyline.CommandType_COMMAND_OPTIMIZER
		command.Payload = &leyline.AdaptationCommand_OptimizerAdjustment{
			OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{
				OptimizerId: o.Optimizer, Hyperparameters: maps.Clone(o.Parameters),
			},
		}
	case Rollback:
		command.CommandType = leyline.CommandType_COMMAND_ROLLBACK
		command.Payload = &leyline.AdaptationCommand_RollbackPayload{RollbackPayload: &structpb.Struct{
			Fields: map[string]*structpb.Value{rollbackSeed: structpb.NewStringValue(o.Seed)},
		}}
	case Emergency:
		command.CommandType = leyline.CommandType_COMMAND_EMERGENCY
		command.Annotations[annotationLevel] = o.Level.String()
	default:
		command.CommandType = leyline.CommandType_COMMAND_SEED
		command.Payload = &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: operations[o.Kind], BlueprintId: o.Blueprint, Parameters: maps.Clone(o.Parameters),
		}}
	}
}

// ReadOrder reads an order out of a command whose signature was verified. It
// returns ErrNotAnOrder, or a *FieldError for an order that is not understood;
// beside the latter the order holds what could be read, so that the seed which
// it is for can be reported as not attached.
func ReadOrder(command *leyline.AdaptationCommand) (Order, error) {
	annotations := command.GetAnnotations()
	if command.GetIssuedBy() != IssuedBy || annotations[annotationOrder] == "" {
		return Order{}, ErrNotAnOrder
	}
	order := Order{
		Run: annotations[AnnotationRun], TrainerID: annotations[annotationTrainerID],
		Seed: command.GetTargetSeedId(), Slot: annotations[AnnotationSlot],
		Reason: annotations[annotationReason], PolicyVersion: annotations[annotationPolicy],
		Deadline: time.Duration(command.GetExecutionDeadlineMs()) * time.Millisecond,
		Kernel: Kernel{
			Ref: annotations[annotationRef], URL: annotations[annotationURL],
			Checksum: annotations[annotationChecksum], GuardDigest: annotations[annotationGuard],
		},
	}
	if err := readCount(&order.Number, true, maxNumber)(annotations[annotationOrder]); err != nil {
		return Order{}, &FieldError{annotationOrder, err}
	}
	if text := annotations[annotationStage]; text != "" {
		stage, ok := leyline.SeedLifecycleStage_value[text]
		if !ok {
			return Order{}, &FieldError{annotationStage, fmt.Errorf("unknown stage %.32q", text)}
		}
		order.Stage = leyline.SeedLifecycleStage(stage)
	}
	if err := readPayload(&order, command); err != nil {
		return order, err
	}
	return order, order.check()
}

func readPayload(o *Order, command *leyline.AdaptationCommand) error {
	switch command.GetCommandType() {
	case leyline.CommandType_COMMAND_SEED:
		return readSeedOperation(o, command)
	case leyline.CommandType_COMMAND_PAUSE:
		o.Kind = Pause
		if IsTrue(command.GetAnnotations()[annotationResume]) {
			o.Kind = Resume
		}
	case leyline.CommandType_COMMAND_OPTIMIZER:
		o.Kind = Optimizer
		o.Optimizer = command.GetOptimizerAdjustment().GetOptimizerId()
		o.Parameters = command.GetOptimizerAdjustment().GetHyperparameters()
	case leyline.CommandType_COMMAND_ROLLBACK:
		o.Kind = Rollback
		o.Seed = command.GetRollbackPayload().GetFields()[rollbackSeed].GetStringValue()
	case leyline.CommandType_COMMAND_EMERGENCY:
		o.Kind = Emergency
		o.Level = ReadLevel(command.GetAnnotations())
	default:
		return &FieldError{"command_type", fmt.Errorf("%s is no order", command.GetCommandType())}
	}
	return nil
}

func readSeedOperation(o *Order, command *leyline.AdaptationCommand) error {
	operation := command.GetSeedOperation()
	o.Blueprint, o.Parameters = operation.GetBlueprintId(), operation.GetParameters()
	o.Kind = kindOf(operation.GetOperation())
	if o.Kind == "" {
		return &FieldError{"operation", fmt.Errorf("%s is no order", operation.GetOperation())}
	}
	if o.Kind != Attach {
		return nil
	}
	var err error
	if o.Blend, err = ReadBlend(command.GetAnnotations()); err != nil {
		return err
	}
	o.Schedule, err = ReadSchedule(command.GetAnnotations(), DefaultSchedule())
	return err
}

func kindOf(operation leyline.SeedOperation) Kind {
	if operation == leyline.SeedOperation_SEED_OP_CANCEL {
		return Drop
	}
	for kind, op := range operations {
		if op == operation {
			return kind
		}
	}
	return ""
}

// check asks for what an order of its kind cannot do without.
func (o Order) check() error {
	switch {
	case o.Number == 0:
		return &FieldError{annotationOrder, errors.New("orders count from 1")}
	case o.Kind != Optimizer && o.Kind != Emergency && o.Seed == "":
		return &FieldError{"target_seed_id", errors.New("missing")}
	case o.Kind == Attach && o.Kernel.Checksum == "":
		return &FieldError{annotationChecksum, errors.New("missing")}
	case o.Kind == Attach && o.Kernel.Ref == "" && o.Kernel.URL == "":
		return &FieldError{annotationRef, errors.New("neither a path nor a URL")}
	}
	for name, value := range o.Parameters {
		if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
			return &FieldError{name, errors.New("parameter is not finite")}
		}
	}
	return nil
}

// ReadLevel reads the level of an emergency command. One that names none asks
// for CONSERVATIVE, which pauses the seeds.
func ReadLevel(annotations map[string]string) leyline.EmergencyLevel {
	text := annotations[annotationLevel]
	if level, ok := leyline.EmergencyLevel_value[text]; ok {
		return leyline.EmergencyLevel(level)
	}
	if number, err := strconv.ParseInt(text, 10, 32); err == nil {
		if _, known := leyline.EmergencyLevel_name[int32(number)]; known {
			return leyline.EmergencyLevel(number)
		}
	}
	return leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE
}
