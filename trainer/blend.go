package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Mode says how a seed's output joins the host's.
type Mode string

// The modes, as the annotation blend_mode names them. With h the detached output
// of the host, s that of the seed and a the seed's share:
const (
	Convex     Mode = "CONVEX"     // a·s + (1-a)·h
	Residual   Mode = "RESIDUAL"   // h + a·s
	Channel    Mode = "CHANNEL"    // e·s + (1-e)·h, e = clamp01(a·Channels) along dimension 1
	Confidence Mode = "CONFIDENCE" // e·s + (1-e)·h, e = clamp(a·gate(s), AlphaLow, AlphaTop)
)

// Annotations of a blend.
const (
	annotationMode           = "blend_mode"
	annotationModeSource     = "blend_mode_source"
	annotationGateK          = "gate_k"
	annotationGateTau        = "gate_tau"
	annotationAlphaLow       = "alpha_lo"
	annotationAlphaTop       = "alpha_hi"
	annotationChannels       = "alpha_vec"
	annotationChannelsLength = "alpha_vec_len"
	annotationLogits         = "confidence_logits"
	annotationLogitsRequired = "confidence_logits_required"
)

const (
	maxChannels = 64
	maxLogits   = 4096
)

// Errors of [ReadBlend], wrapped in a *FieldError.
var (
	// ErrUnknownMode: a blend that is not understood is refused, never another mode.
	ErrUnknownMode = errors.New("unknown blend mode")
	// ErrMissingLogits: the command says that logits are required and has none.
	ErrMissingLogits = errors.New("confidence blend missing confidence_logits")
)

// Blend configures how one seed is blended. The zero value is CONVEX.
type Blend struct {
	Mode   Mode   `json:"mode,omitempty"`   // empty: CONVEX, which no command asked for
	Source string `json:"source,omitempty"` // free text, echoed in telemetry

	Channels []float32 `json:"channels,omitempty"` // CHANNEL: a weight in 0..1 for each channel

	GateK    float64 `json:"gate_k,omitempty"`    // CONFIDENCE: slope of the gate, at least 0
	GateTau  float64 `json:"gate_tau,omitempty"`  // CONFIDENCE: its centre, at least 0
	AlphaLow float64 `json:"alpha_low,omitempty"` // CONFIDENCE: bounds of the effective share, 0..1
	AlphaTop float64 `json:"alpha_top,omitempty"`

	// CONFIDENCE: told to observers; the computation reads the seed's own output.
	Logits         []float64 `json:"logits,omitempty"`
	LogitsRequired bool      `json:"logits_required,omitempty"`
}

// ReadBlend reads the annotations that configure a blend. NaN is refused
// everywhere: it would pass a clamp as a full replacement of the host. So are
// infinite numbers of a gate. Its errors are *FieldError.
func ReadBlend(annotations map[string]string) (Blend, error) {
	blend := Blend{LogitsRequired: IsTrue(annotations[annotationLogitsRequired])}
	if blend.LogitsRequired && strings.TrimSpace(annotations[annotationLogits]) == "" {
		return Blend{}, &FieldError{annotationLogits, ErrMissingLogits}
	}
	blend.Mode = Mode(strings.ToUpper(strings.TrimSpace(annotations[annotationMode])))
	if blend.Mode == "" {
		return blend, nil
	}
	blend.Source = annotations[annotationModeSource]
	if err := checkLength(blend.Source); err != nil {
		return Blend{}, &FieldError{annotationModeSource, err}
	}
	var err error
	switch blend.Mode {
	case Convex, Residual:
	case Channel:
		err = readChannels(&blend, annotations)
	case Confidence:
		err = readConfidence(&blend, annotations)
	default:
		err = &FieldError{annotationMode, fmt.Errorf("%w %.32q", ErrUnknownMode, blend.Mode)}
	}
	if err != nil {
		return Blend{}, err
	}
	return blend, nil
}

// Fits says why a blend cannot be made at a slot, of which the first size of an example
// is the number of channels; nil is a fit.
func (b Blend) Fits(slot []int) error {
	switch b.Mode {
	case "", Convex, Residual:
		return nil
	case Channel:
		if len(b.Channels) != slot[0] {
			return fmt.Errorf("%d channel weights for a slot of %v", len(b.Channels), slot)
		}
		return nil
	case Confidence:
		if slot[0] < 2 {
			return fmt.Errorf("a confidence gate needs two channels, the slot is %v", slot)
		}
		return nil
	default:
		return fmt.Errorf("%w %.32q", ErrUnknownMode, b.Mode)
	}
}

func readConfidence(b *Blend, annotations map[string]string) error {
	fields := []struct {
		name     string
		fallback float64
		to       *float64
	}{
		{annotationGateK, 4, &b.GateK},
		{annotationGateTau, 0.2, &b.GateTau},
		{annotationAlphaLow, 0, &b.AlphaLow},
		{annotationAlphaTop, 1, &b.AlphaTop},
	}
	for _, f := range fields {
		value, err := readFloat(annotations[f.name], f.fallback)
		if err != nil {
			return &FieldError{f.name, err}
		}
		*f.to = max(value, 0)
	}
	b.AlphaLow, b.AlphaTop = clamp01(b.AlphaLow), clamp01(b.AlphaTop)
	if b.AlphaLow > b.AlphaTop {
		b.AlphaLow, b.AlphaTop = b.AlphaTop, b.AlphaLow
	}
	return readLogits(b, annotations[annotationLogits])
}

// readLogits reads the logits strictly when they are required and drops
// unreadable ones otherwise.
func readLogits(b *Blend, text string) error {
	var logits []float64
	err := json.Unmarshal([]byte(text), &logits)
	if err == nil && len(logits) > 0 && len(logits) <= maxLogits {
		b.Logits = logits
		return nil
	}
	if b.LogitsRequired {
		return &FieldError{annotationLogits, errors.New("confidence blend invalid confidence_logits")}
	}
	return nil
}

func readChannels(b *Blend, annotations map[string]string) error {
	text := strings.TrimSpace(annotations[annotationChannels])
	if text == "" {
		return &FieldError{annotationChannels, errors.New("channel blend missing alpha_vec")}
	}
	values, err := channelValues(text)
	if err != nil {
		return &FieldError{annotationChannels, err}
	}
	if err := checkChannelCount(annotations[annotationChannelsLength], len(values)); err != nil {
		return &FieldError{annotationChannelsLength, err}
	}
	for _, value := range values {
		b.Channels = append(b.Channels, float32(clamp01(value)))
	}
	return nil
}

func channelValues(text string) ([]float64, error) {
	var values []float64
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		if values, err = separatedFloats(text); err != nil {
			return nil, fmt.Errorf("channel blend invalid alpha_vec: %w", err)
		}
	}
	switch {
	case len(values) == 0:
		return nil, errors.New("channel blend invalid alpha_vec: no entries")
	case len(values) > maxChannels:
		return nil, errors.New("channel blend alpha_vec exceeds limit")
	default:
		return values, nil
	}
}

// separatedFloats reads numbers separated by commas, in brackets or not.
func separatedFloats(text string) ([]float64, error) {
	inner, opened := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if opened != closed {
		return nil, errors.New("a bracket is missing")
	}
	var values []float64
	for item := range strings.SplitSeq(inner, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		value, err := strconv.ParseFloat(item, 64)
		if err != nil {
			return nil, err
		}
		if math.IsNaN(value) {
			return nil, errors.New("entry is not a number")
		}
		values = append(values, value)
	}
	return values, nil
}

func checkChannelCount(text string, length int) error {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	announced, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("channel blend invalid alpha_vec_len")
	}
	if announced != length {
		return errors.New("channel blend alpha_vec length mismatch")
	}
	return nil
}

func (b Blend) annotate(annotations map[string]string) {
	mode := b.Mode
	if mode == "" {
		mode = Convex
	}
	annotations[annotationMode] = string(mode)
	if b.Source != "" {
		annotations[annotationModeSource] = b.Source
	}
	switch mode {
	case Channel:
		annotations[annotationChannels] = marshal(b.Channels)
		annotations[annotationChannelsLength] = strconv.Itoa(len(b.Channels))
	case Confidence:
		for name, value := range map[string]float64{
			annotationGateK: b.GateK, annotationGateTau: b.GateTau,
			annotationAlphaLow: b.AlphaLow, annotationAlphaTop: b.AlphaTop,
		} {
			annotations[name] = strconv.FormatFloat(value, 'g', -1, 64)
		}
		if len(b.Logits) > 0 {
			annotations[annotationLogits] = marshal(b.Logits)
		}
		if b.LogitsRequired {
			annotations[annotationLogitsRequired] = "true"
		}
	}
}

// readFloat reads a finite number; text that is none gives the fallback. An
// infinity is refused: times 0, or less itself, it makes a gate NaN.
func readFloat(text string, fallback float64) (float64, error) {
	value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return fallback, nil
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, errors.New("not a finite number")
	}
	return value, nil
}

// IsTrue reads a flag: "true" in any case, blanks around it allowed.
func IsTrue(text string) bool { return strings.EqualFold(strings.TrimSpace(text), "true") }

func clamp01(x float64) float64 { return min(max(x, 0), 1) }
