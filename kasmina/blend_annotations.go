package kasmina

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxChannels bounds a CHANNEL blend's vector.
const maxChannels = 64

var errMissingLogits = errors.New("confidence blend missing confidence_logits")

// parseBlend reads the annotations that configure a blend. A number that is
// NaN is refused: it would pass every clamp as a full replacement of the host.
func parseBlend(annotations map[string]string) (BlendConfig, error) {
	config := BlendConfig{Mode: BlendConvex, LogitsRequired: isTrue(annotations["confidence_logits_required"])}
	if config.LogitsRequired && strings.TrimSpace(annotations["confidence_logits"]) == "" {
		return BlendConfig{}, errMissingLogits
	}
	mode := strings.ToUpper(strings.TrimSpace(annotations["blend_mode"]))
	if mode == "" {
		return config, nil
	}
	config.Configured = true
	config.Source = annotations["blend_mode_source"]
	switch BlendMode(mode) {
	case BlendResidual:
		config.Mode = BlendResidual
	case BlendChannel:
		return config, config.readChannels(annotations)
	case BlendConfidence:
		return config, config.readConfidence(annotations)
	}
	return config, nil
}

func (c *BlendConfig) readConfidence(annotations map[string]string) error {
	c.Mode = BlendConfidence
	fields := []struct {
		name     string
		fallback float64
		field    *float64
	}{
		{"gate_k", 4, &c.GateK},
		{"gate_tau", 0.2, &c.GateTau},
		{"alpha_lo", 0, &c.AlphaLow},
		{"alpha_hi", 1, &c.AlphaTop},
	}
	for _, f := range fields {
		value, err := annotatedFloat(annotations, f.name, f.fallback)
		if err != nil {
			return err
		}
		*f.field = max(value, 0)
	}
	c.AlphaLow, c.AlphaTop = clamp01(c.AlphaLow), clamp01(c.AlphaTop)
	if c.AlphaLow > c.AlphaTop {
		c.AlphaLow, c.AlphaTop = c.AlphaTop, c.AlphaLow
	}
	return c.readLogits(annotations["confidence_logits"])
}

// readLogits parses the logits strictly when they are required and drops
// unreadable ones otherwise.
func (c *BlendConfig) readLogits(text string) error {
	var logits []float64
	err := json.Unmarshal([]byte(text), &logits)
	if err == nil && len(logits) > 0 {
		c.Logits = logits
		return nil
	}
	if c.LogitsRequired {
		return errors.New("confidence blend invalid confidence_logits")
	}
	return nil
}

func (c *BlendConfig) readChannels(annotations map[string]string) error {
	c.Mode = BlendChannel
	text := strings.TrimSpace(annotations["alpha_vec"])
	if text == "" {
		return errors.New("channel blend missing alpha_vec")
	}
	values, err := channelValues(text)
	if err != nil {
		return err
	}
	if err := checkLength(annotations["alpha_vec_len"], len(values)); err != nil {
		return err
	}
	for _, value := range values {
		c.Channels = append(c.Channels, float32(clamp01(value)))
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
	if len(values) == 0 {
		return nil, errors.New("channel blend invalid alpha_vec: no entries")
	}
	if len(values) > maxChannels {
		return nil, errors.New("channel blend alpha_vec exceeds limit")
	}
	return values, nil
}

// separatedFloats reads numbers separated by commas, with optional brackets.
func separatedFloats(text string) ([]float64, error) {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	var values []float64
	for item := range strings.SplitSeq(text, ",") {
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

func checkLength(text string, length int) error {
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

// annotatedFloat reads a number; text that is none gives the fallback.
func annotatedFloat(annotations map[string]string, name string, fallback float64) (float64, error) {
	value, err := strconv.ParseFloat(strings.TrimSpace(annotations[name]), 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return fallback, nil
	}
	if math.IsNaN(value) {
		return 0, fmt.Errorf("%s is not a number", name)
	}
	return value, nil
}
