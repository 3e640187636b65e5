package trainer

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Shape is the form of a seed's ramp.
type Shape string

// The shapes, as the annotation alpha_schedule names them.
const (
	ShapeSigmoid Shape = "sigmoid"
	ShapeLinear  Shape = "linear"
	ShapeCosine  Shape = "cosine"
)

// Annotations of a ramp.
const (
	annotationShape       = "alpha_schedule"
	annotationSteps       = "alpha_steps"
	annotationTemperature = "alpha_temperature"
	annotationWarmUp      = "alpha_warmup_steps"
	annotationHold        = "alpha_hold_steps"
)

const (
	maxRampSteps   = 1 << 24
	minTemperature = 1e-6
)

// Schedule is the ramp of a seed's share in the blend, by optimizer steps.
type Schedule struct {
	Shape       Shape   `json:"shape,omitempty"`       // empty: sigmoid
	Steps       int     `json:"steps,omitempty"`       // N, length of the ramp; 0: the end of the ramp at once
	Temperature float64 `json:"temperature,omitempty"` // T of the sigmoid, in steps
	WarmUp      int     `json:"warm_up,omitempty"`     // steps at a share of 0 before the ramp
	Hold        int     `json:"hold,omitempty"`        // steps at its end before it counts as done
}

// DefaultSchedule is the contract's: a sigmoid over 20 steps with a temperature of 2.
func DefaultSchedule() Schedule { return Schedule{Shape: ShapeSigmoid, Steps: 20, Temperature: 2} }

// At is the share after a number of steps, 0 to 1. The sigmoid is
// 1 / (1 + exp(-(step - N/2)/T)), and goes on towards 1 after step N; the others
// end at 1.
func (s Schedule) At(step int) float64 {
	step -= s.WarmUp
	switch {
	case step < 0:
		return 0
	case s.Steps <= 0:
		return 1
	case s.WarmUp > 0 && step == 0:
		return 0
	}
	share := float64(step) / float64(s.Steps)
	switch s.Shape {
	case ShapeLinear:
		return min(share, 1)
	case ShapeCosine:
		return (1 - math.Cos(math.Pi*min(share, 1))) / 2
	default:
		x := (float64(step) - float64(s.Steps)/2) / max(s.Temperature, minTemperature)
		return (1 + math.Tanh(x/2)) / 2
	}
}

// Done says whether the ramp is over after a number of steps.
func (s Schedule) Done(step int) bool { return step >= s.WarmUp+s.Steps+s.Hold }

// ReadSchedule reads the ramp's annotations over what holds where there is none:
// [DefaultSchedule] on the wire.
func ReadSchedule(annotations map[string]string, schedule Schedule) (Schedule, error) {
	if text := annotations[annotationShape]; text != "" {
		schedule.Shape = Shape(text)
	}
	switch schedule.Shape {
	case "", ShapeSigmoid, ShapeLinear, ShapeCosine:
	default:
		return Schedule{}, &FieldError{annotationShape, fmt.Errorf("unknown shape %.32q", schedule.Shape)}
	}
	for name, to := range map[string]*int{
		annotationSteps: &schedule.Steps, annotationWarmUp: &schedule.WarmUp, annotationHold: &schedule.Hold,
	} {
		if err := readSteps(annotations[name], to); err != nil {
			return Schedule{}, &FieldError{name, err}
		}
	}
	if text := annotations[annotationTemperature]; text != "" {
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(value) || math.IsInf(value, 0) || value <= 0 {
			return Schedule{}, &FieldError{annotationTemperature, errors.New("not a positive number")}
		}
		schedule.Temperature = value
	}
	return schedule, nil
}

func readSteps(text string, to *int) error {
	if text == "" {
		return nil
	}
	value, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	if value < 0 || value > maxRampSteps {
		return fmt.Errorf("%d steps, want 0 to %d", value, maxRampSteps)
	}
	*to = value
	return nil
}

func (s Schedule) annotate(annotations map[string]string) {
	shape := s.Shape
	if shape == "" {
		shape = ShapeSigmoid
	}
	annotations[annotationShape] = string(shape)
	annotations[annotationSteps] = strconv.Itoa(s.Steps)
	annotations[annotationTemperature] = strconv.FormatFloat(max(s.Temperature, minTemperature), 'g', -1, 64)
	annotations[annotationWarmUp] = strconv.Itoa(s.WarmUp)
	annotations[annotationHold] = strconv.Itoa(s.Hold)
}
