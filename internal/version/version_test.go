package version

import (
	"runtime/debug"
	"testing"
)

func TestModuleVersion(t *testing.T) {
	for _, row := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, ""},
		{&debug.BuildInfo{}, ""},
		{&debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}}, "v0.1.0"},
	} {
		if got := ofModule(row.info); got != row.want {
			t.Errorf("%+v is %q, want %q", row.info, got, row.want)
		}
	}
	if String() == "" {
		t.Error("a build without a version")
	}
}
