package tamiyo

import (
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
	"github.com/esper-lite/weatherlight/trainer"
)

const commandVersion = 1

func (e *evaluation) seedCommand(s seed, op operation, cause string) *leyline.AdaptationCommand {
	command := e.command(s, leyline.CommandType_COMMAND_SEED, leyline.SeedOperation(op).String(), cause)
	command.Payload = &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
		Operation: leyline.SeedOperation(op), BlueprintId: s.Blueprint,
	}}
	command.Annotations["mesh_host_layers"] = layerList(e.state.HostLayers)
	if op == opGerminate {
		annotations := command.GetAnnotations()
		annotations["selected_seed"] = s.ID
		annotations["selected_blueprint"] = s.Blueprint
		if s.Blend != "" {
			annotations["blend_mode"] = s.Blend
		}
		if s.Considered != "" {
			annotations["considered"] = s.Considered
		}
		if planned, chosen := e.chosen[s.ID]; chosen {
			annotations["blueprint_worth"] = strconv.FormatFloat(planned.worth, 'f', 3, 64)
			annotations["considered"] = e.plan.alternatives()
			if planned.risk.Known {
				annotations["policy_risk_score"] = strconv.FormatFloat(planned.risk.Value, 'f', 6, 64)
				annotations["policy_risk_index"] = strconv.Itoa(rules.RiskClass(planned.risk.Value))
			}
		}
		addMissing(annotations, e.config.Rules(e.record.Run))
	}
	return command
}

// annotations tell what is known of a blueprint. A score that nobody gave is not told.
func (c Candidate) annotations() map[string]string {
	told := map[string]string{
		"blueprint_tier":  c.Tier.String(),
		"blueprint_risk":  strconv.FormatFloat(c.facts(true).EffectiveRisk(), 'f', 2, 64),
		"blueprint_stage": strconv.FormatUint(uint64(c.Stage), 10),
	}
	if c.Name != "" {
		told["blueprint_name"] = clipped(c.Name)
	}
	if c.ParameterCount > 0 {
		told["blueprint_parameter_count"] = strconv.Itoa(c.ParameterCount)
	}
	b := c.BSDS
	if b == nil {
		return told
	}
	told["bsds_hazard_band"], told["bsds_handling_class"], told["bsds_resource_profile"], told["bsds_provenance"] = rules.Words(b)
	if risk := float64(b.GetRiskScore()); finite(risk) && risk > 0 {
		told["bsds_risk"] = strconv.FormatFloat(risk, 'f', 2, 64)
	}
	return told
}

func addMissing(to, from map[string]string) {
	for name, text := range from {
		if _, taken := to[name]; !taken {
			to[name] = text
		}
	}
}

// pauseCommand always has a target: a PAUSE without one has no effect.
func (e *evaluation) pauseCommand(s seed, cause string) *leyline.AdaptationCommand {
	kind := leyline.CommandType_COMMAND_PAUSE
	command := e.command(s, kind, kind.String(), cause)
	command.Annotations["reason"] = causePolicy
	return command
}

// command is one without payload; its purpose tells it from another for the
// same seed.
func (e *evaluation) command(
	s seed, kind leyline.CommandType, purpose, cause string,
) *leyline.AdaptationCommand {
	command := &leyline.AdaptationCommand{
		Version:             commandVersion,
		CommandId:           e.identify("command", s.ID, purpose),
		CommandType:         kind,
		TargetSeedId:        s.ID,
		ExecutionDeadlineMs: uint32(cmp.Or(e.state.Patience, time.Minute) / time.Millisecond),
		IssuedAt:            timestamppb.New(e.now),
		IssuedBy:            source,
		Annotations: map[string]string{
			trainer.AnnotationRun: e.record.Run,
			"policy_version":      e.policy,
			"risk_reason":         cause,
			"evaluated_epoch":     strconv.FormatUint(uint64(e.record.Epoch), 10),
			"stalled_epochs":      strconv.FormatUint(uint64(e.record.Loss.Stalled), 10),
		},
	}
	if e.loss.delta.Known {
		command.Annotations["loss_delta"] = strconv.FormatFloat(e.loss.delta.Value, 'f', 6, 64)
	}
	if blueprint, known := e.plan.known[s.Blueprint]; known {
		addMissing(command.Annotations, blueprint.annotations())
	}
	if s.Slot != "" {
		command.Annotations[trainer.AnnotationSlot] = s.Slot
	}
	if cause == causeAsked {
		command.Annotations["policy_answer"] = e.deciding.actions[s.ID].String()
	}
	return command
}

// issue adds a command to the decision and tells observers about it.
func (e *evaluation) issue(command *leyline.AdaptationCommand, blueprintID string) {
	e.commands = append(e.commands, command)
	annotations := command.GetAnnotations()
	e.event("command_issued", levelInfo,
		"command_id", command.GetCommandId(),
		"operation", operationName(command),
		"seed_id", command.GetTargetSeedId(),
		"slot", annotations[trainer.AnnotationSlot],
		"blueprint_id", blueprintID,
		"training_run_id", e.record.Run,
		"risk_reason", annotations["risk_reason"])
}

func operationName(command *leyline.AdaptationCommand) string {
	if operation := command.GetSeedOperation(); operation != nil {
		return operation.GetOperation().String()
	}
	return command.GetCommandType().String()
}

func layerList(layers []string) string {
	if layers == nil {
		layers = []string{}
	}
	list, err := json.Marshal(layers)
	if err != nil {
		return "[]" // impossible: texts always marshal
	}
	return string(list)
}

// count32 is a count as far as 32 bits go.
func count32(count uint64) uint32 { return uint32(min(count, math.MaxUint32)) }
