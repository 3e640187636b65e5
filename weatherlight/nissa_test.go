package weatherlight

import (
	"slices"
	"testing"
)

// What a service shows to Prometheus itself is not Nissa's to show again, and nothing else.
func TestR21ASummarySaysWhetherItsPointsAreOnMetrics(t *testing.T) {
	for addr, want := range map[string]string{"127.0.0.1:0": "exposed", "off": ""} {
		r := start(t, newService(t, map[string]string{"WEATHERLIGHT_HTTP_ADDR": addr}))
		if got := r.summaryPacket(t.Context()).GetSystemHealth().GetIndicators()["metrics"]; got != want {
			t.Errorf("HTTP at %s: the summary says %q of its points, want %q", addr, got, want)
		}
		if err := r.stop(t); err != nil {
			t.Error(err)
		}
	}
	var shown []string
	for _, group := range seriesGroups() {
		for _, row := range group.rows {
			shown = append(shown, row.Name)
		}
	}
	for _, row := range packetSeries() {
		if slices.Contains(shown, row.Name) {
			t.Errorf("%s is on /metrics, and a point of another packet than the summary", row.Name)
		}
	}
}

func TestServiceDoesNotNeedNissa(t *testing.T) {
	r := start(t, newService(t, map[string]string{"NISSA_URL": "http://127.0.0.1:1"}))
	eventually(t, "nissa was asked", func() bool { return r.nissa.Status().State == "unreachable" })
	packet := r.summaryPacket(t.Context())
	if got := packet.GetSystemHealth().GetIndicators()["nissa"]; got != "unreachable" {
		t.Errorf("indicator nissa is %q", got)
	}
	if status := r.status(t.Context()); status.Nissa == nil || status.Nissa.State != "unreachable" || status.State != "ready" {
		t.Errorf("status %+v", status)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestServiceWithoutNissaSaysNothingOfIt(t *testing.T) {
	r := start(t, newService(t, nil))
	if _, said := r.summaryPacket(t.Context()).GetSystemHealth().GetIndicators()["nissa"]; said || r.status(t.Context()).Nissa != nil {
		t.Error("nissa is reported")
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
