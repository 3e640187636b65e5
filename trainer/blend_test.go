package trainer_test

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/trainer"
)

// annotated turns pairs into annotations.
func annotated(pairs ...string) map[string]string {
	annotations := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		annotations[pairs[i]] = pairs[i+1]
	}
	return annotations
}

func TestBlendIsReadOutOfItsAnnotations(t *testing.T) {
	for name, test := range map[string]struct {
		annotations []string
		want        trainer.Blend
	}{
		"nothing is the default":             {nil, trainer.Blend{}},
		"a mode is trimmed and in any case":  {[]string{"blend_mode", " residual "}, trainer.Blend{Mode: trainer.Residual}},
		"the source is echoed":               {[]string{"blend_mode", "CONVEX", "blend_mode_source", "x"}, trainer.Blend{Mode: trainer.Convex, Source: "x"}},
		"channels are a list":                {[]string{"blend_mode", "CHANNEL", "alpha_vec", "[0.5, 1]"}, trainer.Blend{Mode: trainer.Channel, Channels: []float32{0.5, 1}}},
		"or separated by commas":             {[]string{"blend_mode", "CHANNEL", "alpha_vec", "0.5,, 1 ,"}, trainer.Blend{Mode: trainer.Channel, Channels: []float32{0.5, 1}}},
		"channels are clamped":               {[]string{"blend_mode", "CHANNEL", "alpha_vec", "[-1, 7]", "alpha_vec_len", " 2 "}, trainer.Blend{Mode: trainer.Channel, Channels: []float32{0, 1}}},
		"a gate has defaults":                {[]string{"blend_mode", "CONFIDENCE"}, trainer.Blend{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaTop: 1}},
		"so has one that cannot be read":     {[]string{"blend_mode", "CONFIDENCE", "gate_k", "steep"}, trainer.Blend{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaTop: 1}},
		"a gate is floored":                  {[]string{"blend_mode", "CONFIDENCE", "gate_k", "-3", "gate_tau", "-1"}, trainer.Blend{Mode: trainer.Confidence, AlphaTop: 1}},
		"bounds are clamped and swapped":     {[]string{"blend_mode", "CONFIDENCE", "gate_k", "1", "gate_tau", "1", "alpha_lo", "2", "alpha_hi", "0.25"}, trainer.Blend{Mode: trainer.Confidence, GateK: 1, GateTau: 1, AlphaLow: 0.25, AlphaTop: 1}},
		"logits that cannot be read go":      {[]string{"blend_mode", "CONFIDENCE", "confidence_logits", "{"}, trainer.Blend{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaTop: 1}},
		"logits are kept":                    {[]string{"blend_mode", "CONFIDENCE", "confidence_logits", "[1,2]", "confidence_logits_required", "True"}, trainer.Blend{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaTop: 1, Logits: []float64{1, 2}, LogitsRequired: true}},
		"what is of other modes is left out": {[]string{"blend_mode", "CONVEX", "gate_k", "nan", "alpha_vec", "x"}, trainer.Blend{Mode: trainer.Convex}},
	} {
		got, err := trainer.ReadBlend(annotated(test.annotations...))
		if err != nil || !cmp.Equal(test.want, got) {
			t.Errorf("%s: %v\n%s", name, err, cmp.Diff(test.want, got))
		}
	}
}

func TestBlendThatIsNotUnderstoodIsRefused(t *testing.T) {
	long := strings.TrimSuffix(strings.Repeat("1,", 65), ",")
	for name, annotations := range map[string][]string{
		"blend_mode":        {"blend_mode", "SMOOTH"},
		"blend_mode_source": {"blend_mode", "CONVEX", "blend_mode_source", strings.Repeat("x", 129)},
		"gate_k":            {"blend_mode", "CONFIDENCE", "gate_k", "NaN"},
		"gate_tau":          {"blend_mode", "CONFIDENCE", "gate_tau", "inf"},
		"alpha_lo":          {"blend_mode", "CONFIDENCE", "alpha_lo", "-inf"},
		"alpha_hi":          {"blend_mode", "CONFIDENCE", "alpha_hi", "1e999"},
		"confidence_logits": {"blend_mode", "CONFIDENCE", "confidence_logits", "[]", "confidence_logits_required", "true"},
		"alpha_vec_len":     {"blend_mode", "CHANNEL", "alpha_vec", "[1]", "alpha_vec_len", "2"},
		"alpha_vec":         {"blend_mode", "CHANNEL", "alpha_vec", long},
	} {
		mustRefuse(t, name, annotations)
	}
	for _, vector := range []string{"", " ", "[]", "null", "{}", "[0.1,", "0.1]", "[nan]", "nan", "[[1]]", "a,b", `["1"]`, "1e999"} {
		mustRefuse(t, "alpha_vec", []string{"blend_mode", "CHANNEL", "alpha_vec", vector})
	}
	mustRefuse(t, "alpha_vec_len", []string{"blend_mode", "CHANNEL", "alpha_vec", "[1]", "alpha_vec_len", "one"})
	mustRefuse(t, "confidence_logits", []string{"confidence_logits_required", "true", "confidence_logits", " "})
	if _, err := trainer.ReadBlend(annotated("blend_mode", "X")); !errors.Is(err, trainer.ErrUnknownMode) {
		t.Errorf("an unknown mode is %v", err)
	}
	if _, err := trainer.ReadBlend(annotated("confidence_logits_required", "true")); !errors.Is(err, trainer.ErrMissingLogits) {
		t.Errorf("missing logits are %v", err)
	}
}

func mustRefuse(t *testing.T, name string, annotations []string) {
	t.Helper()
	blend, err := trainer.ReadBlend(annotated(annotations...))
	var field *trainer.FieldError
	if !errors.As(err, &field) || field.Name != name {
		t.Errorf("%q: %v, want it refused by %s", annotations, err, name)
	}
	if !cmp.Equal(blend, trainer.Blend{}) {
		t.Errorf("%q: refused, and read as %+v", annotations, blend)
	}
}

func blends() *rapid.Generator[trainer.Blend] {
	share := rapid.Float64Range(0, 1)
	return rapid.Custom(func(t *rapid.T) trainer.Blend {
		blend := trainer.Blend{Source: words(0).Draw(t, "source")}
		switch rapid.IntRange(0, 3).Draw(t, "mode") {
		case 0:
			blend.Mode = trainer.Convex
		case 1:
			blend.Mode = trainer.Residual
		case 2:
			blend.Mode = trainer.Channel
			blend.Channels = rapid.SliceOfN(rapid.Float32Range(0, 1), 1, 64).Draw(t, "channels")
		default:
			blend.Mode = trainer.Confidence
			blend.GateK = rapid.Float64Range(0, 1e6).Draw(t, "k")
			blend.GateTau = rapid.Float64Range(0, 1e6).Draw(t, "tau")
			low, top := share.Draw(t, "low"), share.Draw(t, "top")
			blend.AlphaLow, blend.AlphaTop = min(low, top), max(low, top)
			blend.Logits = rapid.SliceOfN(rapid.Float64Range(-1e3, 1e3), 0, 8).Draw(t, "logits")
			blend.LogitsRequired = len(blend.Logits) > 0 && rapid.Bool().Draw(t, "required")
		}
		return blend
	})
}

// mustBeSound fails when a blend could do what no blend may.
func mustBeSound(t interface{ Errorf(string, ...any) }, blend trainer.Blend) {
	for _, channel := range blend.Channels {
		if !(channel >= 0 && channel <= 1) {
			t.Errorf("a channel of %g", channel)
		}
	}
	if len(blend.Channels) > 64 || len(blend.Logits) > 4096 || len(blend.Source) > 128 {
		t.Errorf("unbounded blend %+v", blend)
	}
	if !(blend.AlphaLow >= 0 && blend.AlphaLow <= blend.AlphaTop && blend.AlphaTop <= 1) {
		t.Errorf("bounds %g to %g", blend.AlphaLow, blend.AlphaTop)
	}
	for _, gate := range []float64{blend.GateK, blend.GateTau} {
		if !(gate >= 0) || math.IsInf(gate, 0) {
			t.Errorf("a gate of %g", gate)
		}
	}
}

func FuzzReadBlend(f *testing.F) {
	f.Add("CHANNEL", "[0.5,1]", "2", "4", "0.2", "0", "1", "[1]", "true")
	f.Add("confidence", "0.5,", "", "inf", "1e999", "-1", "nan", "[1e999]", " TRUE ")
	f.Add("CHANNEL", "[null]", "0", "", "", "", "", "null", "")
	f.Fuzz(func(t *testing.T, mode, vector, length, k, tau, low, top, logits, required string) {
		annotations := annotated("blend_mode", mode, "blend_mode_source", required, "alpha_vec", vector, "alpha_vec_len", length,
			"gate_k", k, "gate_tau", tau, "alpha_lo", low, "alpha_hi", top,
			"confidence_logits", logits, "confidence_logits_required", required)
		blend, err := trainer.ReadBlend(annotations)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		mustBeSound(t, blend)
	})
}

func schedules() *rapid.Generator[trainer.Schedule] {
	return rapid.Custom(func(t *rapid.T) trainer.Schedule {
		return trainer.Schedule{
			Shape: rapid.SampledFrom([]trainer.Shape{trainer.ShapeSigmoid, trainer.ShapeLinear, trainer.ShapeCosine}).Draw(t, "shape"),
			Steps: rapid.IntRange(0, 1000).Draw(t, "steps"), Temperature: rapid.Float64Range(1e-6, 1e3).Draw(t, "temperature"),
			WarmUp: rapid.IntRange(0, 100).Draw(t, "warm-up"), Hold: rapid.IntRange(0, 100).Draw(t, "hold"),
		}
	})
}

func TestSigmoidHasTheValuesOfTheContract(t *testing.T) {
	for step, want := range map[int]float64{
		0: 0.006693, 1: 0.010987, 5: 0.075858, 10: 0.5, 15: 0.924142, 20: 0.993307, 25: 0.999447,
	} {
		if got := trainer.DefaultSchedule().At(step); math.Abs(got-want) > 5e-7 {
			t.Errorf("after %d steps the share is %f, want %f", step, got, want)
		}
	}
}

func TestRampsBeginAndEndWhereTheyShould(t *testing.T) {
	for name, test := range map[string]struct {
		schedule trainer.Schedule
		step     int
		want     float64
		done     bool
	}{
		"linear at its middle":                {trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 4}, 2, 0.5, false},
		"linear at its end":                   {trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 4}, 4, 1, true},
		"linear after its end":                {trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 4}, 9, 1, true},
		"linear before its begin":             {trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 4}, -3, 0, false},
		"cosine at its middle":                {trainer.Schedule{Shape: trainer.ShapeCosine, Steps: 4}, 2, 0.5, false},
		"cosine at its end":                   {trainer.Schedule{Shape: trainer.ShapeCosine, Steps: 4}, 4, 1, true},
		"held at its end":                     {trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 4, Hold: 2}, 5, 1, false},
		"held for long enough":                {trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 4, Hold: 2}, 6, 1, true},
		"warming up":                          {trainer.Schedule{Steps: 20, Temperature: 2, WarmUp: 5}, 5, 0, false},
		"the first step after it":             {trainer.Schedule{Steps: 20, Temperature: 2, WarmUp: 5}, 6, 0.010987, false},
		"no steps at once":                    {trainer.Schedule{Temperature: 2}, 0, 1, true},
		"no steps after a warm-up":            {trainer.Schedule{WarmUp: 3}, 3, 1, true},
		"no steps before it is over":          {trainer.Schedule{WarmUp: 3}, 2, 0, false},
		"without a temperature it is a step":  {trainer.Schedule{Steps: 20}, 11, 1, false},
		"whose middle stays where it must be": {trainer.Schedule{Steps: 20}, 10, 0.5, false},
	} {
		if got := test.schedule.At(test.step); math.Abs(got-test.want) > 5e-7 {
			t.Errorf("%s: the share is %f, want %f", name, got, test.want)
		}
		if got := test.schedule.Done(test.step); got != test.done {
			t.Errorf("%s: done is %v", name, got)
		}
	}
}

func TestSharesOfEveryRampRiseFrom0To1(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schedule := schedules().Draw(t, "schedule")
		last, wasDone := 0.0, false
		for step := -2; step < schedule.WarmUp+schedule.Steps+schedule.Hold+5; step++ {
			share := schedule.At(step)
			if !(share >= 0 && share <= 1) || share < last {
				t.Fatalf("after %d steps the share is %g, before it was %g", step, share, last)
			}
			if done := schedule.Done(step); wasDone && !done {
				t.Fatalf("after %d steps it is not done any more", step)
			} else if wasDone = done; done && schedule.Shape != trainer.ShapeSigmoid && share != 1 {
				t.Fatalf("done at a share of %g", share)
			}
			last = share
		}
		if !wasDone {
			t.Fatal("it is never done")
		}
		far := schedule
		if far.Temperature <= 10 && far.At(1<<24) < 1-1e-9 {
			t.Fatalf("in the end the share is %g", far.At(1<<24))
		}
	})
}

func TestScheduleIsReadOutOfItsAnnotations(t *testing.T) {
	for name, test := range map[string]struct {
		annotations []string
		want        trainer.Schedule
	}{
		"nothing is the default": {nil, trainer.Schedule{Shape: trainer.ShapeSigmoid, Steps: 20, Temperature: 2}},
		"everything": {
			[]string{"alpha_schedule", "linear", "alpha_steps", "8", "alpha_temperature", "1.5", "alpha_warmup_steps", "2", "alpha_hold_steps", "3"},
			trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 8, Temperature: 1.5, WarmUp: 2, Hold: 3},
		},
	} {
		if got, err := trainer.ReadSchedule(annotated(test.annotations...), trainer.DefaultSchedule()); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, texts := range map[string][]string{
		"alpha_schedule":     {"Linear", "step", strings.Repeat("x", 1000)},
		"alpha_steps":        {"-1", "1.5", "x", strconv.Itoa(1<<24 + 1)},
		"alpha_warmup_steps": {"-1", "99999999999999999999"},
		"alpha_hold_steps":   {"-1"},
		"alpha_temperature":  {"0", "-1", "nan", "inf", "1e999", "x"},
	} {
		for _, text := range texts {
			_, err := trainer.ReadSchedule(annotated(name, text), trainer.DefaultSchedule())
			var field *trainer.FieldError
			if !errors.As(err, &field) || field.Name != name {
				t.Errorf("%s = %.40q: %v", name, text, err)
			}
		}
	}
}

func FuzzReadSchedule(f *testing.F) {
	f.Add("sigmoid", "20", "2", "0", "0", 10)
	f.Add("linear", "-1", "1e-300", "16777216", "x", -1)
	f.Fuzz(func(t *testing.T, shape, steps, temperature, warmUp, hold string, step int) {
		schedule, err := trainer.ReadSchedule(annotated("alpha_schedule", shape, "alpha_steps", steps,
			"alpha_temperature", temperature, "alpha_warmup_steps", warmUp, "alpha_hold_steps", hold), trainer.DefaultSchedule())
		if err != nil {
			return
		}
		step %= 1 << 26
		if share := schedule.At(step); !(share >= 0 && share <= 1) {
			t.Errorf("%+v after %d steps: %g", schedule, step, share)
		}
		if schedule.At(step) > schedule.At(step+1) {
			t.Errorf("%+v falls after %d steps", schedule, step)
		}
	})
}

func TestVariantIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := variants().Draw(t, "variant")
		got, err := trainer.ReadVariant(want.Attributes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if got.Key() != want.Key() {
			t.Fatalf("key %q became %q", want.Key(), got.Key())
		}
	})
}

func variants() *rapid.Generator[trainer.Variant] {
	return rapid.Custom(func(t *rapid.T) trainer.Variant {
		return trainer.Variant{
			Slot:       rapid.SliceOfN(rapid.IntRange(1, 1<<20), 0, 4).Draw(t, "slot"),
			Parameters: rapid.MapOfN(words(1), rapid.Float64Range(-1e6, 1e6), 0, 4).Draw(t, "parameters"),
		}
	})
}

func TestKeysOfVariants(t *testing.T) {
	for _, test := range []struct {
		variant trainer.Variant
		want    string
	}{
		{trainer.Variant{}, ""},
		{trainer.Variant{Slot: []int{}, Parameters: map[string]float64{}}, ""},
		{trainer.Variant{Slot: []int{8, 16, 16}}, "8x16x16"},
		{trainer.Variant{Slot: []int{32}, Parameters: map[string]float64{"rank": 4, "alpha": 0.5}}, "32 alpha=0.5 rank=4"},
		{trainer.Variant{Parameters: map[string]float64{"rank": math.Copysign(0, -1)}}, " rank=0"},
		{trainer.Variant{Parameters: map[string]float64{"a=1 b": 2}}, ` "a=1 b"=2`},
		{trainer.Variant{Parameters: map[string]float64{"a": 1, "b": 2}}, " a=1 b=2"},
	} {
		if got := test.variant.Key(); got != test.want {
			t.Errorf("key of %+v is %q, want %q", test.variant, got, test.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		one, other := variants().Draw(t, "one"), variants().Draw(t, "other")
		if same := cmp.Equal(one, other, cmpopts.EquateEmpty()); same != (one.Key() == other.Key()) {
			t.Fatalf("same is %v, keys are %q and %q", same, one.Key(), other.Key())
		}
	})
}

func TestVariantThatIsNotUnderstoodIsRefused(t *testing.T) {
	parameters := map[string]float64{}
	for i := range 65 {
		parameters[strconv.Itoa(i)] = 1
	}
	many, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	for name, texts := range map[string][]string{
		trainer.AttributeSlot:       {"32", "[]", "null", "[0]", "[1,1,1,1,1]", `["8"]`, "[8", "[1e99]"},
		trainer.AttributeParameters: {"[]", `{"a":"1"}`, `{"":1}`, `{"a":1e999}`, `{"` + strings.Repeat("x", 129) + `":1}`, string(many)},
	} {
		for _, text := range texts {
			_, err := trainer.ReadVariant(annotated(name, text))
			var field *trainer.FieldError
			if !errors.As(err, &field) || field.Name != name {
				t.Errorf("%s = %.40q: %v", name, text, err)
			}
		}
	}
}

func FuzzReadVariant(f *testing.F) {
	f.Add("[8,16,16]", `{"rank":4}`)
	f.Add("null", "null")
	f.Fuzz(func(t *testing.T, slot, parameters string) {
		variant, err := trainer.ReadVariant(annotated(trainer.AttributeSlot, slot, trainer.AttributeParameters, parameters))
		if err != nil {
			return
		}
		if len(variant.Slot) > 4 || len(variant.Parameters) > 64 {
			t.Errorf("unbounded variant %+v", variant)
		}
		again, err := trainer.ReadVariant(variant.Attributes())
		if err != nil || again.Key() != variant.Key() {
			t.Errorf("read again: %+v, %v", again, err)
		}
	})
}
