package tolaria_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tolaria"
	"github.com/esper-lite/weatherlight/trainer"
)

const (
	stageTraining     = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	stageBlending     = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	stageShadowing    = leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	stageProbationary = leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
)

// width is that of the hidden layer in these tests.
var width = []int{16}

// A gated network helps a small host; a normalization of its features does not.
const (
	helpful = "BP021"
	useless = "BP003"
)

func newTrainer(t *testing.T, config tolaria.Config) *tolaria.Trainer {
	t.Helper()
	made, err := tolaria.NewTrainer(config)
	if err != nil {
		t.Fatalf("NewTrainer: %v", err)
	}
	return made
}

func run(t *testing.T, config tolaria.Config) *tolaria.Result {
	t.Helper()
	result, err := newTrainer(t, config).Run(t.Context())
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return result
}

func TestSeedsThatHelpStayAndOthersGo(t *testing.T) {
	t.Parallel()
	config := newOffice(t, width, helpful, useless).config()
	var kinds []trainer.Kind
	config.Seed, config.RunID = 1, "growing"
	config.OnChange = func(change graft.Change) { kinds = append(kinds, change.Kind) }
	result := run(t, config)
	if result.Kept == 0 || result.Dropped != 2 {
		t.Errorf("%d seeds were kept, %d dropped", result.Kept, result.Dropped)
	}
	first := []trainer.Kind{trainer.Attach, trainer.BlendIn, trainer.Hold, trainer.Judge, trainer.Keep, trainer.Tune}
	if len(kinds) < len(first) || !slices.Equal(kinds[:len(first)], first) {
		t.Errorf("the first seed went through %v", kinds)
	}
	if gain := result.GrownAccuracy - result.HostAccuracy; gain < 0.03 {
		t.Errorf("grew from %.4f to %.4f", result.HostAccuracy, result.GrownAccuracy)
	}
	if result.GrownParameters <= result.HostParameters {
		t.Errorf("grew from %d to %d parameters", result.HostParameters, result.GrownParameters)
	}
	if result.HostGradientMax != 0 || !result.HostUnchanged {
		t.Errorf("gradient %g in front of the seeds, unchanged: %v", result.HostGradientMax, result.HostUnchanged)
	}
	longer, err := tolaria.TrainPlain(t.Context(), config, result.Rates, 0)
	if err != nil || longer.Parameters != result.HostParameters || longer.Accuracy < 0.5 {
		t.Errorf("training on: %+v, %v", longer, err)
	}
	larger, err := tolaria.TrainPlain(t.Context(), config, result.Rates, result.GrownParameters)
	if err != nil || larger.Parameters < result.GrownParameters-40 || larger.Parameters > result.GrownParameters+40 {
		t.Errorf("a larger host: %+v, %v", larger, err)
	}
}

// R9: a host that trained no more once a seed was attached could not be changed by one.
func TestHostTrainsBeforeAndAfterABlendAndRestsInIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules  map[string]string
		epochs int // that the seed blends at least
	}{
		"a short ramp": {nil, 1},
		"a ramp that takes longer than the host waits for orders": {
			map[string]string{"alpha_steps": "1500", "promotion_max_blending": "100"}, 25,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, width, helpful)
			o.controller = tamiyo.NewController(tamiyo.Config{
				Patience: 4, ProbationEpochs: 3, MaxAgeEpochs: 200, Rules: func(string) map[string]string { return test.rules },
			})
			mustRestWhileSeedsBlend(t, o.config(), test.epochs)
		})
	}
}

func mustRestWhileSeedsBlend(t *testing.T, config tolaria.Config, epochs int) {
	t.Helper()
	var made *tolaria.Trainer
	last, moved, blending := graft.Weights(nil), make(map[string]bool), 0
	config.Seed, config.Rejections, config.MaxEpochs = 1, 1, 200
	config.OnEpoch = func(epoch tolaria.Epoch) {
		stage := "no seed"
		for _, seed := range epoch.Seeds {
			stage = seed.Stage.String()
		}
		if stage == "SEED_STAGE_BLENDING" {
			blending++
		}
		now := made.Hidden()
		if last != nil && !reflect.DeepEqual(now, last) {
			moved[stage] = true
		}
		last = now
	}
	made = newTrainer(t, config)
	if _, err := made.Run(t.Context()); err != nil {
		t.Fatalf("Run: %v", err)
	}
	for stage, want := range map[string]bool{
		"no seed": true, "SEED_STAGE_TRAINING": true, "SEED_STAGE_FOSSILIZED": true,
		"SEED_STAGE_BLENDING": false, "SEED_STAGE_SHADOWING": false, "SEED_STAGE_PROBATIONARY": false,
	} {
		if moved[stage] != want {
			t.Errorf("%s: the host moved: %v", stage, moved[stage])
		}
	}
	if blending < epochs {
		t.Errorf("a seed blended in %d epochs, want %d at least", blending, epochs)
	}
}

// firstIn is whether an epoch is the first one of a seed in a stage.
func firstIn(stage leyline.SeedLifecycleStage) func(tolaria.Epoch) bool {
	seen := false
	return func(epoch tolaria.Epoch) bool {
		if seen || len(epoch.Seeds) == 0 || epoch.Seeds[0].Stage != stage {
			return false
		}
		seen = true
		return true
	}
}

func TestHostTrainsOnWhenNobodyDecidesOnASeed(t *testing.T) {
	t.Parallel()
	pauses := func(ctx context.Context, o *office) {
		o.alarm(ctx, kasmina.Emergency{
			Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE, Reason: "test", Origin: "test", ID: "1",
		})
	}
	leaves := func(_ context.Context, o *office) { o.leave() }
	for name, test := range map[string]struct {
		stage leyline.SeedLifecycleStage
		act   func(context.Context, *office)
		rests int // epochs in which the host rests that follow
	}{
		"the seed is paused in its blend":         {stageBlending, pauses, 0},
		"the seed is paused on trial":             {stageShadowing, pauses, 0},
		"the service is gone while one blends":    {stageBlending, leaves, 20},  // its ramp takes one of them
		"the service is gone while one is tested": {stageShadowing, leaves, 19}, // and the one before
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, width, helpful)
			config := o.config()
			config.Seed, config.MaxEpochs = 1, 70
			reached, after := firstIn(test.stage), false
			rests, trained, steps := 0, 0, 0
			var made *tolaria.Trainer
			config.OnEpoch = func(epoch tolaria.Epoch) {
				done := made.HostSteps()
				switch {
				case reached(epoch):
					test.act(t.Context(), o)
					after = true
				case after && done == steps:
					rests++
				case after:
					trained++
				}
				steps = done
			}
			made = newTrainer(t, config)
			result, err := made.Run(t.Context())
			if err != nil {
				t.Fatalf("Run: %v", err)
			}
			if rests != test.rests || trained < 10 || result.Kept != 0 || !result.HostUnchanged {
				t.Errorf("the host rested in %d epochs, trained in %d, %d seeds kept, unchanged: %v",
					rests, trained, result.Kept, result.HostUnchanged)
			}
		})
	}
}

func TestLeaksAreSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		leak              func(*tolaria.Trainer)
		gradient, changes bool
	}{
		"a blend that lets the gradient through":   {(*tolaria.Trainer).LeakGradients, true, false},
		"a seed that trains weights of the host's": {(*tolaria.Trainer).LeakWeights, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := newOffice(t, width, helpful).config()
			config.Seed, config.MaxEpochs = 1, 55
			made := newTrainer(t, config)
			test.leak(made)
			result, err := made.Run(t.Context())
			if err != nil {
				t.Fatalf("Run: %v", err)
			}
			if (result.HostGradientMax != 0) != test.gradient || result.HostUnchanged == test.changes {
				t.Errorf("gradient %g, unchanged %v", result.HostGradientMax, result.HostUnchanged)
			}
		})
	}
}

func TestEvidenceIsPairedAndRestsWhileTheSeedIsOnTrial(t *testing.T) {
	t.Parallel()
	o := newOffice(t, width, helpful)
	config := o.config()
	config.Seed, config.MaxEpochs = 1, 55
	run(t, config)
	seen := make(map[leyline.SeedLifecycleStage][]map[string]float32)
	for _, packet := range o.packets {
		for _, seed := range packet.GetSeedStates() {
			seen[seed.GetStage()] = append(seen[seed.GetStage()], seed.GetMetrics())
		}
	}
	for _, stage := range []leyline.SeedLifecycleStage{stageTraining, stageBlending, stageShadowing, stageProbationary} {
		if len(seen[stage]) == 0 {
			t.Fatalf("no report of %s", stage)
		}
		last := seen[stage][len(seen[stage])-1]
		if last[trainer.MetricHeldOut] != 359 || !(last[trainer.MetricLossError] > 0) || !(last[trainer.MetricAccuracyError] > 0) {
			t.Errorf("%s: %v", stage, last)
		}
		if last[trainer.MetricHostGradientMax] != 0 {
			t.Errorf("%s: a gradient of %v reached the host", stage, last[trainer.MetricHostGradientMax])
		}
		if cosine := last[trainer.MetricGradientCosine]; !(cosine > -1 && cosine < 1) || cosine == 0 {
			t.Errorf("%s: the cosine of the gradients is %v", stage, cosine)
		}
		if stage != stageTraining && stage != stageBlending {
			first := seen[stageShadowing][0]
			for _, name := range []string{trainer.MetricLossBefore, trainer.MetricLossAfter} {
				if last[name] != first[name] {
					t.Errorf("%s: %s went from %v to %v although nothing trains", stage, name, first[name], last[name])
				}
			}
			if last[trainer.MetricLossAfter] >= last[trainer.MetricLossBefore] {
				t.Errorf("%s: a seed that helps does not show: %v", stage, last)
			}
		}
	}
}

func TestSameSeedGivesTheSameRun(t *testing.T) {
	t.Parallel()
	grow := func(seed uint64) *tolaria.Result {
		config := newOffice(t, width, helpful).config()
		config.Seed, config.MaxEpochs, config.RunID = seed, 50, "again"
		return run(t, config)
	}
	first, again, other := grow(1), grow(1), grow(2)
	if first.GrownAccuracy != again.GrownAccuracy || first.HostAccuracy != again.HostAccuracy || !slices.Equal(first.Rates, again.Rates) {
		t.Errorf("%v to %v, then %v to %v", first.HostAccuracy, first.GrownAccuracy, again.HostAccuracy, again.GrownAccuracy)
	}
	for i := range first.Epochs {
		if first.Epochs[i].Loss != again.Epochs[i].Loss {
			t.Fatalf("epoch %d: loss %v, then %v", i+1, first.Epochs[i].Loss, again.Epochs[i].Loss)
		}
	}
	if first.Epochs[0].Loss == other.Epochs[0].Loss {
		t.Error("another seed gave the same run")
	}
}

func TestPlainTrainingIsTheRunUpToItsFirstSeed(t *testing.T) {
	t.Parallel()
	alone := run(t, tolaria.Config{Seed: 4, MaxEpochs: 6})
	plain, err := tolaria.TrainPlain(t.Context(), tolaria.Config{Seed: 4}, alone.Rates, 0)
	if err != nil || plain.Accuracy != alone.GrownAccuracy {
		t.Errorf("%+v, %v, the run came to %v", plain, err, alone.GrownAccuracy)
	}
}

func TestReportsTellTheHostAndTheEpoch(t *testing.T) {
	t.Parallel()
	o := newOffice(t, []int{4, 4})
	config := o.config()
	config.RunID, config.MaxEpochs, config.Slot = "run-7", 4, []int{4, 4}
	run(t, config)
	if len(o.packets) != 4 {
		t.Fatalf("%d reports of 4 epochs", len(o.packets))
	}
	ids := make(map[string]bool)
	for i, packet := range o.packets {
		ids[packet.GetPacketId()] = true
		if packet.GetCurrentEpoch() != uint32(i+1) || packet.GetTrainingRunId() != "run-7" ||
			packet.GetSourceSubsystem() != "tolaria" || packet.GetValidationLoss() <= 0 ||
			packet.GetTrainingMetrics()["learning_rate"] <= 0 || packet.GetGlobalStep() != uint64(51*(i+1)) {
			t.Errorf("report %d: %v", i, packet)
		}
	}
	if len(ids) != 4 {
		t.Errorf("%d different packet ids", len(ids))
	}
}

// deaf is a bus that is down.
type deaf struct{}

func (deaf) PublishReport(context.Context, *leyline.SystemStatePacket, map[string]string) error {
	return errors.New("bus is down")
}

func (deaf) FollowOrders(context.Context, string, func(*leyline.AdaptationCommand)) error {
	return errors.New("bus is down")
}

func TestTrainingGoesOnWithoutABus(t *testing.T) {
	t.Parallel()
	keyring, err := signing.NewKeyring("a secret")
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]graft.Config{"none": {}, "down": {Bus: deaf{}, Keyring: keyring}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := run(t, tolaria.Config{Graft: config, MaxEpochs: 4})
			if len(result.Epochs) != 4 || result.GrownAccuracy != result.HostAccuracy {
				t.Errorf("trained %d of 4 epochs: %+v", len(result.Epochs), result)
			}
		})
	}
}

func TestCancelledRunEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	made := newTrainer(t, tolaria.Config{OnEpoch: func(tolaria.Epoch) { cancel() }})
	if _, err := made.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
}

func TestEmergencyHaltsTheRun(t *testing.T) {
	t.Parallel()
	o := newOffice(t, width, helpful)
	config := o.config()
	config.OnEpoch = func(epoch tolaria.Epoch) {
		if epoch.Number == 3 {
			o.alarm(t.Context(), kasmina.Emergency{
				Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT, Reason: "test", Origin: "test", ID: "1",
			})
		}
	}
	made := newTrainer(t, config)
	if _, err := made.Run(t.Context()); !errors.Is(err, tolaria.ErrHalted) {
		t.Errorf("Run = %v, want ErrHalted", err)
	}
	if last := o.packets[len(o.packets)-1]; last.GetTrainingMetrics()[trainer.MetricHalted] != 1 {
		t.Errorf("the last report does not say that the run was halted: %v", last)
	}
}
