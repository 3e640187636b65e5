package kasmina

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	// maxMeshLayers bounds the list of host layers that a command may name.
	maxMeshLayers = 128
	// maxLogits bounds the logits of a blend, which are only told.
	maxLogits = 256
)

// Annotations of seed commands, beside those of package trainer.
const (
	annotationMesh           = "mesh_host_layers"
	annotationMeshAlias      = "mesh_layers"
	annotationResume         = "resume"
	annotationPolicy         = "policy_version"
	annotationIncludeTeacher = "include_teacher"
)

// seedOrder is a seed command whose annotations have been read and found good.
type seedOrder struct {
	seedID      string
	blueprintID string
	runID       string
	operation   leyline.SeedOperation
	parameters  map[string]float32
	annotations map[string]string

	// of a germination
	mesh      []string
	blend     trainer.Blend
	schedule  trainer.Schedule
	promotion *promotion.Rules
}

// annotationFault is a refused annotation: the reason and what exactly.
type annotationFault struct{ reason, detail string }

// readSeedOrder validates a seed command in the order of the contract: the
// identifiers, the mesh, the confidence logits, the blend. What a germination
// alone needs is asked of one alone.
func (c *Config) readSeedOrder(command *leyline.AdaptationCommand) (seedOrder, *annotationFault) {
	operation := command.GetSeedOperation()
	order := seedOrder{
		seedID:      strings.TrimSpace(command.GetTargetSeedId()),
		blueprintID: strings.TrimSpace(operation.GetBlueprintId()),
		runID:       RunOfCommand(command),
		operation:   operation.GetOperation(),
		parameters:  operation.GetParameters(),
		annotations: command.GetAnnotations(),
	}
	if fault := checkIdentifiers(order); fault != nil {
		return order, fault
	}
	if order.operation != leyline.SeedOperation_SEED_OP_GERMINATE {
		return order, nil
	}
	for _, read := range []func(*seedOrder) *annotationFault{
		(*seedOrder).readMesh, (*seedOrder).readBlend, c.readSchedule, c.readPromotion,
	} {
		if fault := read(&order); fault != nil {
			return order, fault
		}
	}
	return order, nil
}

func checkIdentifiers(order seedOrder) *annotationFault {
	switch {
	case order.seedID == "":
		return &annotationFault{reason: ReasonMissingSeedID}
	case order.blueprintID == "":
		return &annotationFault{reason: ReasonMissingBlueprintID}
	case order.runID == "":
		return &annotationFault{reason: ReasonMissingTrainingRunID}
	case max(len(order.seedID), len(order.blueprintID), len(order.runID)) > maxIDLength:
		return &annotationFault{ReasonIdentifierTooLong, fmt.Sprintf("more than %d bytes", maxIDLength)}
	default:
		return nil
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
	blend, err := trainer.ReadBlend(o.annotations)
	switch {
	case errors.Is(err, trainer.ErrMissingLogits):
		return &annotationFault{ReasonMissingLogits, err.Error()}
	case err != nil:
		return &annotationFault{ReasonInvalidBlend, err.Error()}
	case len(blend.Logits) > maxLogits:
		return &annotationFault{ReasonInvalidBlend, fmt.Sprintf("more than %d confidence_logits", maxLogits)}
	}
	o.blend = blend
	return nil
}

func (c *Config) readSchedule(o *seedOrder) *annotationFault {
	schedule, err := trainer.ReadSchedule(o.annotations, c.Schedule)
	if err != nil {
		return &annotationFault{ReasonInvalidSchedule, err.Error()}
	}
	o.schedule = schedule
	return nil
}

// readPromotion reads the rules that a command sets for its seed alone.
func (c *Config) readPromotion(o *seedOrder) *annotationFault {
	own, err := promotion.Read(o.annotations)
	if err != nil {
		return &annotationFault{ReasonInvalidPromotion, err.Error()}
	}
	if own == (promotion.Rules{}) {
		return nil
	}
	own = c.Promotion.Over(own)
	if err := own.Check(); err != nil {
		return &annotationFault{ReasonInvalidPromotion, err.Error()}
	}
	o.promotion = &own
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
		if len(name) > maxIDLength {
			return nil, fmt.Errorf("a name of %d bytes", len(name))
		}
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
