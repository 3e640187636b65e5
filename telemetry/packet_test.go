package telemetry_test

import (
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/telemetry"
)

func TestPacketsAboutOneThingHaveOneIdentifier(t *testing.T) {
	about := func(parts ...string) string {
		return telemetry.New("weatherlight", "weatherlight-emergency").About(parts...).Build().GetPacketId()
	}
	if one := about("a", "b"); one != about("a", "b") || one == about("a", "c") || one == about("ab") || !strings.HasPrefix(one, "weatherlight-emergency-") {
		t.Errorf("identifier %s", one)
	}
}
