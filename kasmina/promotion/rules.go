// Package promotion is the rules by which a seed earns its way through the stages.
// Rules come from a configuration or from the annotations of the GERMINATE command
// that began a seed; Kasmina judges by them, and whoever commands may write them.
package promotion

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	// prefix of the annotations.
	prefix = "promotion_"
	// maxResidence bounds the reports and maxGain the gains that an annotation sets.
	maxResidence = 1_000_000
	maxGain      = 1_000
)

// Rules say what a seed must show to move on. Residences are counted in
// reports within the stage. A GERMINATE command sets one of them for its seed by
// the annotation promotion_<name>, the name as in brackets.
type Rules struct {
	MinTraining   int     `json:"mt,omitempty"` // 3 [min_training]: reports in TRAINING before the seed may leave
	TrainEpochs   int     `json:"te,omitempty"` // 12 [train_epochs]: reports in TRAINING after which it is decided
	Plateau       int     `json:"pl,omitempty"` // 3 [plateau]: reports without a better loss that count as converged
	PlateauGain   float64 `json:"pg,omitempty"` // 0.01 [plateau_gain]: relative gain that counts as a better loss
	MaxBlending   int     `json:"mb,omitempty"` // 60 [max_blending]: reports after which a ramp that does not end fails
	MinShadowing  int     `json:"is,omitempty"` // 2 [min_shadowing]
	MaxShadowing  int     `json:"as,omitempty"` // 10 [max_shadowing]: reports without earning before the seed is culled
	MinProbation  int     `json:"ip,omitempty"` // 2 [min_probation]
	MaxProbation  int     `json:"ap,omitempty"` // 10 [max_probation]
	MinGain       float64 `json:"mg,omitempty"` // 0.01 [min_gain]: relative gain in loss that earns a promotion
	AccuracyGain  float64 `json:"ag,omitempty"` // 0.005 [accuracy_gain]: gain in accuracy that earns one instead
	MaxRegression float64 `json:"mr,omitempty"` // 0.02 [max_regression]: relative loss above the host's that culls at once
	// 1 [sigma]: a gain counts when it is larger than so many standard errors.
	// Negative: noise is not looked at; no annotation can say that.
	Sigma float64 `json:"sg,omitempty"`
}

// Default are the rules that nobody set.
func Default() Rules {
	return Rules{
		MinTraining: 3, TrainEpochs: 12, Plateau: 3, PlateauGain: 0.01, MaxBlending: 60,
		MinShadowing: 2, MaxShadowing: 10, MinProbation: 2, MaxProbation: 10,
		MinGain: 0.01, AccuracyGain: 0.005, MaxRegression: 0.02, Sigma: 1,
	}
}

// Read takes the rules that annotations set, the zero Rules when they set none. Its
// errors are a reason in words.
func Read(annotations map[string]string) (Rules, error) {
	var own Rules
	for name, to := range counts(&own) {
		value, set, err := boundedNumber(annotations[prefix+name], maxResidence)
		if err != nil || value != math.Trunc(value) {
			return Rules{}, errors.New(name)
		}
		if set {
			*to = int(value)
		}
	}
	for name, to := range gains(&own) {
		value, set, err := boundedNumber(annotations[prefix+name], maxGain)
		if err != nil {
			return Rules{}, errors.New(name)
		}
		if set {
			*to = value
		}
	}
	return own, nil
}

// Check says whether each stage leaves a seed the time that it needs.
func (r Rules) Check() error {
	if stage := r.tooShort(); stage != leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN {
		return fmt.Errorf("%s ends before a seed may leave it", stage)
	}
	return nil
}

// Annotations are the rules that are set, as a GERMINATE command carries them.
func (r Rules) Annotations() map[string]string {
	annotations := make(map[string]string)
	for name, count := range counts(&r) {
		if *count > 0 {
			annotations[prefix+name] = strconv.Itoa(*count)
		}
	}
	for name, gain := range gains(&r) {
		if *gain > 0 {
			annotations[prefix+name] = strconv.FormatFloat(*gain, 'g', -1, 64)
		}
	}
	return annotations
}

// counts are the rules in reports, by their names.
func counts(r *Rules) map[string]*int {
	return map[string]*int{
		"min_training": &r.MinTraining, "train_epochs": &r.TrainEpochs, "plateau": &r.Plateau,
		"max_blending": &r.MaxBlending, "min_shadowing": &r.MinShadowing, "max_shadowing": &r.MaxShadowing,
		"min_probation": &r.MinProbation, "max_probation": &r.MaxProbation,
	}
}

// gains are the other rules, by their names.
func gains(r *Rules) map[string]*float64 {
	return map[string]*float64{
		"plateau_gain": &r.PlateauGain, "min_gain": &r.MinGain, "accuracy_gain": &r.AccuracyGain,
		"max_regression": &r.MaxRegression, "sigma": &r.Sigma,
	}
}

// boundedNumber reads a number above 0; no text sets none.
func boundedNumber(text string, most float64) (value float64, set bool, err error) {
	if text = strings.TrimSpace(text); text == "" {
		return 0, false, nil
	}
	value, err = strconv.ParseFloat(text, 64)
	if err == nil && !(value > 0 && value <= most) {
		err = fmt.Errorf("%v is not above 0 and at most %v", value, most)
	}
	return value, true, err
}

// Over are the rules with those that a command set of its own.
func (r Rules) Over(own Rules) Rules {
	own.MinTraining = cmp.Or(own.MinTraining, r.MinTraining)
	own.TrainEpochs = cmp.Or(own.TrainEpochs, r.TrainEpochs)
	own.Plateau = cmp.Or(own.Plateau, r.Plateau)
	own.PlateauGain = cmp.Or(own.PlateauGain, r.PlateauGain)
	own.MaxBlending = cmp.Or(own.MaxBlending, r.MaxBlending)
	own.MinShadowing = cmp.Or(own.MinShadowing, r.MinShadowing)
	own.MaxShadowing = cmp.Or(own.MaxShadowing, r.MaxShadowing)
	own.MinProbation = cmp.Or(own.MinProbation, r.MinProbation)
	own.MaxProbation = cmp.Or(own.MaxProbation, r.MaxProbation)
	own.MinGain = cmp.Or(own.MinGain, r.MinGain)
	own.AccuracyGain = cmp.Or(own.AccuracyGain, r.AccuracyGain)
	own.MaxRegression = cmp.Or(own.MaxRegression, r.MaxRegression)
	own.Sigma = cmp.Or(own.Sigma, r.Sigma)
	return own
}

// tooShort is a stage that is over before a seed may leave it, or unknown.
func (r Rules) tooShort() leyline.SeedLifecycleStage {
	switch {
	case r.MinTraining > r.TrainEpochs:
		return leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	case r.MinShadowing > r.MaxShadowing:
		return leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	case r.MinProbation > r.MaxProbation:
		return leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	default:
		return leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	}
}
