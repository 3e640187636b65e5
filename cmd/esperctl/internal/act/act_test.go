package act

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// TestCommandsSayWhoAndWhy compares what is sent with what Kasmina reads.
func TestCommandsSayWhoAndWhy(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	seen := map[string]bool{}
	for _, act := range seedActs {
		o := act.order
		o.run, o.seed, o.blueprint, o.reason = "r", "s", "BP021", "because"
		c := o.command(now)
		notes := c.GetAnnotations()
		if c.GetIssuedBy() != issuer || c.GetTargetSeedId() != "s" || !c.GetIssuedAt().AsTime().Equal(now) ||
			notes[trainer.AnnotationRun] != "r" || notes["reason"] != "because" || notes["operator"] == "" {
			t.Errorf("%s: %v", act.verb, c)
		}
		if seed := c.GetSeedOperation(); (c.GetCommandType() == leyline.CommandType_COMMAND_SEED) != (seed.GetBlueprintId() == "BP021") {
			t.Errorf("%s: the payload is %v", act.verb, seed)
		}
		if resumes := trainer.IsTrue(notes["resume"]); resumes != (act.verb == "resume") {
			t.Errorf("%s: resume is %v", act.verb, resumes)
		}
		if seen[c.GetCommandId()] || len(act.order.annotations) > 1 {
			t.Errorf("%s: its id is another's, or its form was changed: %v", act.verb, act.order.annotations)
		}
		seen[c.GetCommandId()] = true
	}
	for name, level := range modes {
		o := order{kind: leyline.CommandType_COMMAND_EMERGENCY, annotations: map[string]string{"level": level.String()}}
		c := o.command(now)
		if got := trainer.ReadLevel(c.GetAnnotations()); got != level || c.GetTargetSeedId() != "" || c.GetAnnotations()[trainer.AnnotationRun] != "" {
			t.Errorf("mode %s: %v of %v", name, got, c)
		}
	}
}
