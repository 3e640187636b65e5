package weatherlight

import (
	"log/slog"
	"testing"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

func germinationOf(blueprint string) *leyline.AdaptationCommand {
	return &leyline.AdaptationCommand{
		CommandId: "germinate-" + blueprint,
		Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: leyline.SeedOperation_SEED_OP_GERMINATE, BlueprintId: blueprint,
		}},
	}
}

// An approval is given by the library, for the artifact; a quarantine can only be
// lifted by the deployment.
func TestControllerGerminatesOnlyWhatTheCataloguePermits(t *testing.T) {
	service := &Service{catalog: karn.NewCatalog(), logger: slog.New(slog.DiscardHandler)}
	cull := &leyline.AdaptationCommand{CommandId: "cull", Payload: &leyline.AdaptationCommand_SeedOperation{
		SeedOperation: &leyline.CommandSeedOperation{Operation: leyline.SeedOperation_SEED_OP_CULL, BlueprintId: "BP045"},
	}}
	permitted := service.selectBlueprints(t.Context(), []*leyline.AdaptationCommand{
		germinationOf("BP002"), germinationOf("BP045"), germinationOf("BP036"), germinationOf("imported"), cull,
	})
	var ids []string
	for _, command := range permitted {
		ids = append(ids, command.GetCommandId())
	}
	if got, want := len(ids), 4; got != want || ids[0] != "germinate-BP002" || ids[1] != "germinate-BP036" || ids[3] != "cull" {
		t.Errorf("permitted are %v", ids)
	}
	metrics := service.catalog.Metrics()
	if metrics["karn.selection.safe"] != 1 || metrics["karn.selection.experimental"] != 1 || metrics["karn.requests.failed"] != 1 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestSelectionsAreCountedOnThePageAndInTheSummary(t *testing.T) {
	r := start(t, newService(t, nil))
	r.selectBlueprints(t.Context(), []*leyline.AdaptationCommand{germinationOf("BP001")})
	if series := scrape(t, r.Service); series["karn_requests_total"] != 1 || series["karn_selection_safe"] != 1 {
		t.Errorf("the page shows %v and %v", series["karn_requests_total"], series["karn_selection_safe"])
	}
	if got := metrics(r.summaryPacket(t.Context())); got["karn.requests.total"] != 1 {
		t.Errorf("the summary says %v", got["karn.requests.total"])
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
