package weatherlight

import "testing"

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
