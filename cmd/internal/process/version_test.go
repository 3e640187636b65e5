package process

import (
	"runtime"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/version"
)

func TestVersionNamesTheBuild(t *testing.T) {
	want := []string{"esperctl", version.String(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if got := strings.Fields(Version("esperctl")); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%v, want %v", got, want)
	}
}
