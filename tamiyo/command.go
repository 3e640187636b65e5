package tamiyo

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

const commandVersion = 1

func (e *evaluation) seedCommand(s seed, op leyline.SeedOperation, cause string) *leyline.AdaptationCommand {
	command := e.command(s, leyline.CommandType_COMMAND_SEED, cause)
	command.Payload = &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
		Operation: op, BlueprintId: s.blueprintID,
	}}
	command.Annotations["mesh_host_layers"] = layerList(e.config.MeshLayers(e.run.id))
	if op == opGerminate {
		command.Annotations["selected_seed"] = s.id
		command.Annotations["selected_blueprint"] = s.blueprintID
		command.Annotations["blueprint_tier"] = leyline.BlueprintTier_BLUEPRINT_TIER_SAFE.String()
		if e.chosen != nil {
			command.Annotations["blueprint_risk"] = strconv.FormatFloat(e.chosen.Risk, 'f', 2, 64)
		}
	}
	return command
}

// pauseCommand always has a target: a PAUSE without one has no effect.
func (e *evaluation) pauseCommand(s seed, cause string) *leyline.AdaptationCommand {
	command := e.command(s, leyline.CommandType_COMMAND_PAUSE, cause)
	command.Annotations["reason"] = causePolicy
	return command
}

func (e *evaluation) command(s seed, kind leyline.CommandType, cause string) *leyline.AdaptationCommand {
	return &leyline.AdaptationCommand{
		Version:             commandVersion,
		CommandId:           uuid.NewString(),
		CommandType:         kind,
		TargetSeedId:        s.id,
		ExecutionDeadlineMs: milliseconds(e.config.Deadline),
		IssuedAt:            timestamppb.New(e.now),
		IssuedBy:            source,
		Annotations: map[string]string{
			"training_run_id": e.run.id,
			"policy_version":  e.policyVersion(),
			"risk_reason":     cause,
			"evaluated_epoch": strconv.FormatUint(uint64(e.run.epoch), 10),
			"loss_delta":      strconv.FormatFloat(e.lossDelta, 'f', 6, 64),
			"stalled_epochs":  strconv.FormatUint(uint64(e.run.loss.stalled), 10),
		},
	}
}

// issue adds a command to the answer and tells observers about it. The
// signature comes last, when nothing changes any more.
func (e *evaluation) issue(command *leyline.AdaptationCommand, blueprintID string) {
	e.commands = append(e.commands, command)
	e.event("command_issued", levelInfo,
		"command_id", command.GetCommandId(),
		"operation", operationName(command),
		"seed_id", command.GetTargetSeedId(),
		"blueprint_id", blueprintID,
		"training_run_id", e.run.id,
		"risk_reason", command.GetAnnotations()["risk_reason"])
}

func operationName(command *leyline.AdaptationCommand) string {
	if operation := command.GetSeedOperation(); operation != nil {
		return operation.GetOperation().String()
	}
	return command.GetCommandType().String()
}

func (e *evaluation) policyVersion() string {
	if version := e.config.PolicyVersion(); version != "" {
		return version
	}
	return DefaultPolicyVersion
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

func milliseconds(d time.Duration) uint32 {
	return uint32(min(max(d.Milliseconds(), 0), math.MaxUint32))
}
