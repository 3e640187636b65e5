package weatherlight

import "testing"

func TestSelectionsAreCountedOnThePageAndInTheSummary(t *testing.T) {
	r := start(t, newService(t, nil))
	if err := r.selection.Permit(t.Context(), "BP001"); err != nil {
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
