package weatherlight

import (
	"testing"

	"github.com/esper-lite/weatherlight/karn"
)

// An approval is given by the library, for the artifact; a quarantine can only be
// lifted by the deployment.
func TestControllerGerminatesOnlyWhatTheCataloguePermits(t *testing.T) {
	service := &Service{catalog: karn.NewCatalog(), telemetry: newTelemetryQueue(nil)}
	for id, want := range map[string]bool{"BP002": true, "BP045": false, "BP036": true, "imported": true} {
		if err := service.permitBlueprint(t.Context(), id); (err == nil) != want {
			t.Errorf("%s is permitted: %v, want %t", id, err, want)
		}
	}
	metrics := service.catalog.Metrics()
	if metrics["karn.selection.safe"] != 1 || metrics["karn.selection.experimental"] != 1 || metrics["karn.requests.failed"] != 1 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestSelectionsAreCountedOnThePageAndInTheSummary(t *testing.T) {
	r := start(t, newService(t, nil))
	if err := r.permitBlueprint(t.Context(), "BP001"); err != nil {
		t.Fatal(err)
	}
	if series := scrape(t, r.Service); series["karn_requests_total"] != 1 || series["karn_selection_safe"] != 1 {
		t.Errorf("the page shows %v and %v", series["karn_requests_total"], series["karn_selection_safe"])
	}
	if got := metricsOf(r.summaryPacket(t.Context())); got["karn.requests.total"] != 1 {
		t.Errorf("the summary says %v", got["karn.requests.total"])
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
