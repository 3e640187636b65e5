package process

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionNamesTheBuild(t *testing.T) {
	for _, row := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, "unknown"},
		{&debug.BuildInfo{}, "unknown"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "unknown"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}}, "v0.1.0"},
	} {
		if got := versionOf(row.info); got != row.want {
			t.Errorf("%+v is %q, want %q", row.info, got, row.want)
		}
	}
	line := Version("esperctl")
	if !strings.HasPrefix(line, "esperctl ") || !strings.HasSuffix(line, runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("line %q", line)
	}
}
