package settings_test

import (
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/settings"
)

func TestServingOfKernels(t *testing.T) {
	s := mustLoad(t, "", "WEATHERLIGHT_HTTP_TOKEN=sixteen-letters!", "WEATHERLIGHT_ADVERTISE_URL=https://kernels.example:8443/esper",
		"URZA_FORMAT=pt", "URZA_MAX_VARIANTS=7")
	if token := s.Weatherlight.HTTP.Token.Reveal(); token != "sixteen-letters!" {
		t.Errorf("token %q", token)
	}
	if address := s.Weatherlight.AdvertiseURL.Reveal(); address != "https://kernels.example:8443/esper" {
		t.Errorf("advertised %q", address)
	}
	if s.Urza.Format != settings.FormatPT || s.Urza.MaxVariants != 7 {
		t.Errorf("format %q, %d variants", s.Urza.Format, s.Urza.MaxVariants)
	}
	for _, field := range s.Fields() {
		if strings.Contains(field.Value, "sixteen") {
			t.Errorf("%s shows the token", field.Env)
		}
	}
	s = mustLoad(t, "")
	if s.Weatherlight.HTTP.Token.Reveal() != "" || s.Weatherlight.AdvertiseURL.Reveal() != "" || s.Urza.Format != "" || s.Urza.MaxVariants != 256 {
		t.Errorf("defaults: %v %v", s.Weatherlight, s.Urza)
	}
}

func TestFaultyServingOfKernels(t *testing.T) {
	for _, assignment := range []string{
		"WEATHERLIGHT_HTTP_TOKEN=short", "WEATHERLIGHT_HTTP_TOKEN=sixteen letters!", "WEATHERLIGHT_HTTP_TOKEN=sixteen-letters\t!",
		"WEATHERLIGHT_HTTP_TOKEN=sechzehn-zeichen-ä", "NISSA_HTTP_TOKEN=short",
		"WEATHERLIGHT_ADVERTISE_URL=kernels.example:9180", "WEATHERLIGHT_ADVERTISE_URL=ftp://kernels.example",
		"WEATHERLIGHT_ADVERTISE_URL=http://user:sixteen@kernels.example", "WEATHERLIGHT_ADVERTISE_URL=http://h:1/?sixteen=1",
		"WEATHERLIGHT_ADVERTISE_URL=http://h:1/#sixteen", "WEATHERLIGHT_ADVERTISE_URL=http://",
		"URZA_FORMAT=tflite", "URZA_FORMAT=PT", "URZA_MAX_VARIANTS=0", "URZA_MAX_VARIANTS=many",
	} {
		name, _, _ := strings.Cut(assignment, "=")
		_, err := load(t, "", assignment)
		if err == nil {
			t.Errorf("%q was accepted", assignment)
			continue
		}
		if got := faultsOf(t, err); len(got) != 1 || got[0] != name {
			t.Errorf("%q: faults are %v", assignment, got)
		}
		if strings.Contains(err.Error(), "sixteen") {
			t.Errorf("%q: repeated in the error: %v", assignment, err)
		}
	}
}
