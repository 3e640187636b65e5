package kasmina

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

// maxMeshLayers bounds the list of host layers that a command may name.
const maxMeshLayers = 128

// Annotations of seed commands.
const (
	annotationTrainingRun    = "training_run_id"
	annotationMesh           = "mesh_host_layers"
	annotationMeshAlias      = "mesh_layers"
	annotationResume         = "resume"
	annotationIncludeTeacher = "include_teacher"
)

// seedOrder is a seed command whose annotations have been read and found good.
type seedOrder struct {
	commandID   string
	seedID      string
	blueprintID string
	runID       string
	operation   leyline.SeedOperation
	parameters  map[string]float32
	mesh        []string
	blend       BlendConfig
	annotations map[string]string
}

// annotationFault is a refused annotation: the reason and what exactly.
type annotationFault struct{ reason, detail string }

// readSeedOrder validates a seed command in the order of the contract: the
// identifiers, the mesh, the confidence logits, the blend.
func readSeedOrder(cmd *leyline.AdaptationCommand) (seedOrder, *annotationFault) {
	operation := cmd.GetSeedOperation()
	order := seedOrder{
		commandID:   cmd.GetCommandId(),
		seedID:      strings.TrimSpace(cmd.GetTargetSeedId()),
		blueprintID: strings.TrimSpace(operation.GetBlueprintId()),
		runID:       strings.TrimSpace(cmd.GetAnnotations()[annotationTrainingRun]),
		operation:   operation.GetOperation(),
		parameters:  operation.GetParameters(),
		annotations: cmd.GetAnnotations(),
	}
	if reason := missingIdentifier(order); reason != "" {
		return order, &annotationFault{reason: reason}
	}
	if !needsMesh(order.operation) {
		return order, nil
	}
	if fault := order.readMesh(); fault != nil {
		return order, fault
	}
	return order, order.readBlend()
}

func missingIdentifier(order seedOrder) string {
	switch {
	case order.seedID == "":
		return ReasonMissingSeedID
	case order.blueprintID == "":
		return ReasonMissingBlueprintID
	case order.runID == "":
		return ReasonMissingTrainingRunID
	default:
		return ""
	}
}

// needsMesh leaves out the operations that end a seed's way: they touch no layer.
func needsMesh(operation leyline.SeedOperation) bool {
	switch operation {
	case leyline.SeedOperation_SEED_OP_CULL,
		leyline.SeedOperation_SEED_OP_CANCEL,
		leyline.SeedOperation_SEED_OP_FOSSILIZE:
		return false
	default:
		return true
	}
}

func (o *seedOrder) readMesh() *annotationFault {
	text := strings.TrimSpace(o.annotations[annotationMesh])
	if text == "" {
		text = strings.TrimSpace(o.annotations[annotationMeshAlias])
	}
	if text == "" {
		return &annotationFault{reason: ReasonMissingMeshLayers}
	}
	layers, err := parseMesh(text)
	if err != nil {
		return &annotationFault{ReasonInvalidMeshLayers, err.Error()}
	}
	o.mesh = layers
	return nil
}

func (o *seedOrder) readBlend() *annotationFault {
	config, err := parseBlend(o.annotations)
	if errors.Is(err, errMissingLogits) {
		return &annotationFault{ReasonMissingLogits, err.Error()}
	}
	if err != nil {
		return &annotationFault{ReasonInvalidBlend, err.Error()}
	}
	o.blend = config
	return nil
}

// parseMesh reads a list of layer names: a JSON list, a JSON string, or text
// separated by commas. Blanks, nulls and repetitions are dropped.
func parseMesh(text string) ([]string, error) {
	names, err := listedNames(text)
	if err != nil {
		return nil, err
	}
	var layers []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name != "" && !slices.Contains(layers, name) {
			layers = append(layers, name)
		}
		if len(layers) > maxMeshLayers {
			return nil, fmt.Errorf("more than %d layers", maxMeshLayers)
		}
	}
	if len(layers) == 0 {
		return nil, errors.New("no layer named")
	}
	return layers, nil
}

func listedNames(text string) ([]string, error) {
	var decoded any
	if err := json.Unmarshal([]byte(text), &decoded); err != nil {
		if strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{") || strings.HasPrefix(text, `"`) {
			return nil, fmt.Errorf("broken JSON: %w", err)
		}
		return strings.Split(text, ","), nil
	}
	switch value := decoded.(type) {
	case string:
		return []string{value}, nil
	case []any:
		return textItems(value)
	default:
		return nil, errors.New("neither a list nor a name")
	}
}

func textItems(items []any) ([]string, error) {
	names := make([]string, 0, len(items))
	for _, item := range items {
		switch value := item.(type) {
		case nil:
		case string:
			names = append(names, value)
		default:
			return nil, errors.New("a layer's name is not text")
		}
	}
	return names, nil
}

func isTrue(text string) bool { return strings.EqualFold(strings.TrimSpace(text), "true") }
