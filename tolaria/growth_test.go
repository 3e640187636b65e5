package tolaria_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/tolaria"
)

func TestXP(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		o := newOffice(t, []int{16})
		c := o.config()
		c.Seed = seed
		c.RunID = "xp"
		c.OnChange = func(ch graft.Change) {
			t.Log(ch.Kind, ch.Seed, ch.From, ch.To, ch.Err)
		}
		tr, err := tolaria.NewTrainer(c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := tr.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		longer, _ := tolaria.TrainPlain(t.Context(), c, r.Rates, 0)
		larger, _ := tolaria.TrainPlain(t.Context(), c, r.Rates, r.GrownParameters)
		t.Logf("seed %d host %.4f grown %.4f longer %.4f larger %.4f kept %d dropped %d epochs %d steps %d grad %g unchanged %v params %d %d %d", seed, r.HostAccuracy, r.GrownAccuracy, longer.Accuracy, larger.Accuracy, r.Kept, r.Dropped, len(r.Epochs), len(r.Rates), r.HostGradientMax, r.HostUnchanged, r.HostParameters, r.GrownParameters, larger.Parameters)
	}
}
