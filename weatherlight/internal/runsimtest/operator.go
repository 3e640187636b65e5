package runsimtest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// operator is somebody with the secret who sends commands of all kinds, good ones
// and bad ones.
type operator struct {
	town *town
	sent []*leyline.AdaptationCommand
	n    int
}

// seedOf names a seed of a run, or one that never was.
func (o *operator) seedOf(r *run) string {
	t := o.town
	var known []string
	if r.trainer != nil {
		known = slices.Sorted(maps.Keys(r.trainer.seeds))
	}
	known = append(known, t.audit.germinating(r)...)
	if len(known) == 0 || t.chance(0.15) {
		return fmt.Sprintf("operator-seed-%d", t.rand.IntN(4))
	}
	return known[t.rand.IntN(len(known))]
}

// act sends one command.
func (o *operator) act() {
	t := o.town
	if len(o.sent) > 0 && t.chance(0.15) {
		t.send(o.sent[t.rand.IntN(len(o.sent))], nil, t.now, "operator") // once more
		return
	}
	r := t.runs[t.rand.IntN(len(t.runs))]
	if t.chance(0.1) {
		o.race(r)
		return
	}
	command := o.command(r)
	if t.chance(0.1) {
		o.spoil(command)
		t.send(command, nil, t.now, "vandal")
		return
	}
	if t.chance(0.04) {
		delete(command.Annotations, trainer.AnnotationRun) // it is for all of them
	}
	o.sign(command)
	o.sent = append(o.sent, command)
	t.audit.commanded(r, command)
	t.send(command, nil, t.now, "operator")
}

// race lets a CULL overtake its GERMINATE.
func (o *operator) race(r *run) {
	t := o.town
	seed := fmt.Sprintf("raced-seed-%d", o.n)
	germinate := o.seedCommand(r, seed, leyline.SeedOperation_SEED_OP_GERMINATE)
	cull := o.seedCommand(r, seed, leyline.SeedOperation_SEED_OP_CULL)
	cull.IssuedAt = timestamppb.New(t.now.Add(time.Millisecond))
	o.sign(germinate)
	o.sign(cull)
	t.audit.raced(r, germinate, cull)
	t.send(cull, nil, t.now, "operator")
	t.after(t.between(0, 20*time.Second), func() { t.send(germinate, nil, t.now, "operator") })
}

func (o *operator) sign(command *leyline.AdaptationCommand) {
	if err := o.town.keyring.SignCommand(command); err != nil {
		o.town.audit.violate("the operator cannot sign: %v", err)
	}
}

func (o *operator) base(r *run, seed string, kind leyline.CommandType) *leyline.AdaptationCommand {
	t := o.town
	o.n++
	return &leyline.AdaptationCommand{
		Version: 1, CommandId: fmt.Sprintf("operator-%d", o.n), CommandType: kind, TargetSeedId: seed,
		IssuedAt: timestamppb.New(t.now), IssuedBy: "operator",
		Annotations: map[string]string{trainer.AnnotationRun: r.name, "mesh_host_layers": `["layer1"]`},
	}
}

func (o *operator) seedCommand(r *run, seed string, operation leyline.SeedOperation) *leyline.AdaptationCommand {
	command := o.base(r, seed, leyline.CommandType_COMMAND_SEED)
	command.Payload = &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
		Operation: operation, BlueprintId: blueprintName(o.town.rand.IntN(blueprints)),
	}}
	if o.town.chance(0.5) {
		command.Annotations[trainer.AnnotationSlot] = pick(o.town.world, "layer1", "layer2", "no such layer")
	}
	return command
}

// command is one of any type.
func (o *operator) command(r *run) *leyline.AdaptationCommand {
	t := o.town
	seed := o.seedOf(r)
	switch kind := leyline.CommandType(t.rand.IntN(len(leyline.CommandType_name))); kind {
	case leyline.CommandType_COMMAND_PAUSE:
		command := o.base(r, seed, kind)
		if t.chance(0.6) {
			command.Annotations["resume"] = "true"
		}
		return command
	case leyline.CommandType_COMMAND_OPTIMIZER:
		command := o.base(r, pick(t.world, "", seed), kind)
		command.Payload = &leyline.AdaptationCommand_OptimizerAdjustment{OptimizerAdjustment: &leyline.CommandOptimizerAdjustment{
			OptimizerId: "adam", Hyperparameters: map[string]float32{"lr": pick(t.world, 0.01, float32(math.NaN()))},
		}}
		return command
	case leyline.CommandType_COMMAND_ROLLBACK:
		if !t.chance(0.3) {
			break
		}
		command := o.base(r, seed, kind)
		command.Payload = &leyline.AdaptationCommand_RollbackPayload{RollbackPayload: &structpb.Struct{
			Fields: map[string]*structpb.Value{"seed_id": structpb.NewStringValue(seed)},
		}}
		return command
	case leyline.CommandType_COMMAND_EMERGENCY:
		if !t.chance(0.15) {
			break
		}
		command := o.base(r, "", kind)
		command.Annotations["level"] = pick(t.world, "3", "2", "EMERGENCY_LEVEL_HALT", "nonsense")
		return command
	case leyline.CommandType_COMMAND_CIRCUIT_BREAKER:
		command := o.base(r, "", kind)
		command.Payload = &leyline.AdaptationCommand_CircuitBreaker{CircuitBreaker: &leyline.CommandCircuitBreaker{
			DesiredState: leyline.CircuitBreakerState(t.rand.IntN(4)), Rationale: "drill",
		}}
		return command
	case leyline.CommandType_COMMAND_SEED:
	default:
		if t.chance(0.3) {
			return o.base(r, seed, kind)
		}
	}
	operation := leyline.SeedOperation(t.rand.IntN(len(leyline.SeedOperation_name)))
	if operation >= leyline.SeedOperation_SEED_OP_CULL && !t.chance(0.4) {
		operation = leyline.SeedOperation_SEED_OP_GERMINATE
	}
	return o.seedCommand(r, seed, operation)
}

// spoil makes a command one that must be refused.
func (o *operator) spoil(command *leyline.AdaptationCommand) {
	t := o.town
	switch t.rand.IntN(5) {
	case 0: // not signed
	case 1:
		command.IssuedAt = timestamppb.New(t.now.Add(-10 * time.Minute))
		o.sign(command)
	case 2:
		command.IssuedAt = timestamppb.New(t.now.Add(10 * time.Minute))
		o.sign(command)
	case 3:
		command.CommandId = ""
		o.sign(command)
	default:
		o.sign(command)
		command.TargetSeedId += "x"
	}
}

// babble sends a report of a run of its own in which nothing is as it should be.
func (o *operator) babble() {
	t := o.town
	o.n++
	number := func() float32 {
		return pick(t.world, 0, 1, -1, 3, 1<<24, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32)
	}
	packet := &leyline.SystemStatePacket{
		TrainingRunId: garbageRun, CurrentEpoch: uint32(t.rand.IntN(5)), ValidationLoss: number(), ValidationAccuracy: number(),
		TimestampNs: t.rand.Uint64(), TrainingMetrics: map[string]float32{trainer.MetricHalted: number()},
	}
	grafts := make(map[string]trainer.Graft)
	for range t.rand.IntN(5) {
		id := pick(t.world, "a", "b", "", "läuft \"<x>", strings.Repeat("z", 300))
		grafts[id] = trainer.Graft{Slot: "layer1", Blueprint: pick(t.world, "BP001", "", "?"), Checksum: "c", Order: uint64(t.rand.IntN(9))}
		metrics := make(map[string]float32)
		for _, name := range []string{
			trainer.MetricOrder, trainer.MetricAlpha, trainer.MetricAlphaSteps, trainer.MetricPaused, trainer.MetricLossBefore,
			trainer.MetricLossAfter, trainer.MetricAttachFailed, trainer.MetricAttachReason, trainer.MetricForwardFaults,
			trainer.MetricHostGradientMax, trainer.MetricTrainLoss,
		} {
			if t.chance(0.7) {
				metrics[name] = number()
			}
		}
		packet.SeedStates = append(packet.SeedStates, &leyline.SeedState{
			SeedId: id, Stage: leyline.SeedLifecycleStage(t.rand.IntN(14) - 1), GradientNorm: number(), AgeEpochs: t.rand.Uint32(), Metrics: metrics,
		})
	}
	attributes := trainer.Report{
		TrainerID: pick(t.world, "g1", "g1", "g2"), Number: uint64(o.n), OrderRead: pick(t.world, 0, 1, uint64(o.n), 1<<53),
		Grafts: grafts, HostLayers: []string{"layer1"}, Slots: map[string][]int{"layer1": {4}}, KernelAccess: []string{"telepathy"},
	}.Attributes()
	switch t.rand.IntN(6) {
	case 0:
		attributes[trainer.AttributeProtocol] = "2"
	case 1:
		attributes[trainer.AttributeGrafts] = "{"
	case 2:
		attributes[trainer.AttributeSlots] = `{"layer1":[0]}`
	default:
	}
	t.send(packet, attributes, t.now, "vandal")
}

// garbageRun is a run whose reports make no sense.
const garbageRun = "garbage"

// alarm raises an emergency.
func (o *operator) alarm() {
	t := o.town
	o.n++
	signal := &leyline.EmergencySignal{
		Version: 1, Reason: "drill", Origin: "operator", TriggeredAt: timestamppb.New(t.now), MonotonicTimeMs: uint64(o.n),
		Level: pick(t.world, leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE, leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE),
	}
	if t.chance(0.05) {
		signal.Level = leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
	}
	if t.chance(0.7) {
		signal.RunId = t.runs[t.rand.IntN(len(t.runs))].name
	}
	t.send(signal, map[string]string{"id": fmt.Sprintf("alarm-%d", o.n)}, t.now, "operator")
}

// relieve lifts every emergency and puts every seed back into the output, so that
// it can go on.
func (o *operator) relieve() {
	for _, r := range o.town.runs {
		if r.trainer == nil || !r.grows {
			continue
		}
		if o.town.audit.retired(r) {
			r.restart() // it is told that it leads no longer, and why
		}
		lift := o.base(r, "", leyline.CommandType_COMMAND_EMERGENCY)
		lift.Annotations["level"] = leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE.String()
		o.sign(lift)
		o.town.send(lift, nil, o.town.now, "operator")
		for _, seed := range slices.Sorted(maps.Keys(r.trainer.seeds)) {
			command := o.base(r, seed, leyline.CommandType_COMMAND_PAUSE)
			command.Annotations["resume"] = "true"
			o.sign(command)
			o.town.audit.commanded(r, command)
			o.town.send(proto.Clone(command), nil, o.town.now, "operator")
		}
	}
}
