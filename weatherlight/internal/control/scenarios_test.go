package control_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

func TestScenario121_CommandsOfTheControllerAreVerified(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", eager)
		o.hear("run-1")
		o.hear("run-1")
		commands := sentOf[*leyline.AdaptationCommand](o)
		if len(commands) != 1 {
			t.Fatalf("%d commands", len(commands))
		}
		germination, now := commands[0], o.config.Now()
		unsigned := proto.CloneOf(germination)
		delete(unsigned.Annotations, signing.SignatureAnnotation)
		old := proto.CloneOf(germination)
		old.IssuedAt = timestamppb.New(now.Add(-10 * time.Minute))
		if err := o.keyring.SignCommand(old); err != nil {
			t.Fatal(err)
		}
		for name, row := range map[string]struct {
			command *leyline.AdaptationCommand
			reason  string
		}{
			"as it is": {germination, ""}, "unsigned": {unsigned, kasmina.ReasonMissingSignature}, "old": {old, kasmina.ReasonStaleCommand},
		} {
			refused, got := o.config.Core.Verify(nil, row.command, now), ""
			if refused != nil {
				got = refused.Reason
			}
			if got != row.reason {
				t.Errorf("%s: refused for %q, want %q", name, got, row.reason)
			}
		}
		o.do(germination)
		again := proto.CloneOf(germination) // another command of its id
		again.TargetSeedId = "another"
		if err := o.keyring.SignCommand(again); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Command(t.Context(), delivered(again)); err != nil { // one of our own: told of, no dead letter
			t.Fatal(err)
		}
		if rejected := o.events("command_rejected"); rejected != 1 {
			t.Errorf("%d commands were rejected", rejected)
		}
	})
}

func TestScenario131_SeedOfARiskyBlueprintIsPaused(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		var asked []string
		o := open(t, url, "a", func(c *control.Config) {
			c.Blueprint = func(_ context.Context, id string) (tamiyo.Candidate, bool, error) {
				asked = append(asked, id)
				return tamiyo.Candidate{
					BlueprintID: id, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL, Risk: 0.85, Stage: 5, ApprovalRequired: true,
				}, true, nil
			}
		})
		o.hear("run-1")
		delivery := o.attached("run-1", "seed", trainer.Order{
			Slot: "hidden", Blueprint: "BP039", Kernel: trainer.Kernel{Checksum: digestOf("kernel")}, Number: 1,
		})
		if _, err := o.State(t.Context(), delivery); err != nil {
			t.Fatal(err)
		}
		commands := sentOf[*leyline.AdaptationCommand](o)
		if len(commands) != 1 || commands[0].GetCommandType() != leyline.CommandType_COMMAND_PAUSE || commands[0].GetTargetSeedId() != "seed" {
			t.Fatalf("commands %v", commands)
		}
		for name, want := range map[string]string{
			"blueprint_tier": "BLUEPRINT_TIER_EXPERIMENTAL", "blueprint_risk": "0.85", "blueprint_stage": "5", "risk_reason": "bp_quarantine",
		} {
			if got := commands[0].GetAnnotations()[name]; got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if !slices.Equal(asked, []string{"BP039"}) {
			t.Errorf("asked for %v", asked)
		}
	})
}

func TestAStepHasItsTime(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", eager, func(c *control.Config) {
			c.StepTimeout = time.Nanosecond
			c.Candidates = func(ctx context.Context, _ string, _ []int) ([]tamiyo.Candidate, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		for range 3 {
			o.hear("run-1")
		}
		if commands := sentOf[*leyline.AdaptationCommand](o); len(commands) > 0 || o.events("timeout_urza") == 0 {
			t.Errorf("commands %v, told %d times of the timeout", commands, o.events("timeout_urza"))
		}
	})
}

// patient is a policy that answers when its time is over.
type patient struct{}

func (patient) Version() string { return "patient" }

func (patient) Judge(ctx context.Context, _ [][]float32) ([][]float32, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAPolicyHasTheTimeOfAStep(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", func(c *control.Config) {
			c.Controller = tamiyo.NewController(tamiyo.Config{
				Patience: 1, Policies: func() (tamiyo.Policy, tamiyo.Policy) { return patient{}, patient{} },
			})
			c.StepTimeout = time.Nanosecond
			c.Candidates = func(context.Context, string, []int) ([]tamiyo.Candidate, error) {
				return []tamiyo.Candidate{{BlueprintID: "BP001", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, ParameterCount: 9}}, nil
			}
		})
		for range 3 {
			o.hear("run-1")
		}
		if commands := sentOf[*leyline.AdaptationCommand](o); len(commands) > 0 || o.events("timeout_inference") == 0 {
			t.Errorf("commands %v, told %d times of the timeout", commands, o.events("timeout_inference"))
		}
	})
}

// eagerly is a policy that would begin whatever it is asked about.
type eagerly struct{ version string }

func (e eagerly) Version() string { return e.version }

func (eagerly) Judge(_ context.Context, rows [][]float32) ([][]float32, error) { return rows, nil }

// Whether a policy was compared in the shadow, the record of a run tells any instance.
func TestShadowIsFoundInTheRun(t *testing.T) {
	onBothBuses(t, func(t *testing.T, url string) {
		o := open(t, url, "a", eager, func(c *control.Config) {
			c.Controller = tamiyo.NewController(tamiyo.Config{
				Patience: 1, Policies: func() (tamiyo.Policy, tamiyo.Policy) { return nil, eagerly{"v1"} },
			})
		})
		o.hear("run-1")
		other := open(t, url, "b")
		if other.view("run-1").Tamiyo.Compared("v1") {
			t.Error("it was not asked yet")
		}
		o.hear("run-1", "run-1")
		for version, want := range map[string]bool{"v1": true, "v2": false, "": false} {
			if got := other.view("run-1").Tamiyo.Compared(version); got != want {
				t.Errorf("%q was compared: %v", version, got)
			}
		}
	})
}
