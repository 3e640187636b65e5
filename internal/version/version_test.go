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

func TestRevisionSaysWhetherTheSourcesAreThoseOfTheCommit(t *testing.T) {
	at := debug.BuildSetting{Key: "vcs.revision", Value: "0123"}
	for _, row := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, ""},
		{&debug.BuildInfo{}, ""},
		{&debug.BuildInfo{Settings: []debug.BuildSetting{at, {Key: "vcs.modified", Value: "false"}}}, "0123"},
		{&debug.BuildInfo{Settings: []debug.BuildSetting{at, {Key: "vcs.modified", Value: "true"}}}, "0123-modified"},
		{&debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}}, ""},
	} {
		if got := ofCheckout(row.info); got != row.want {
			t.Errorf("%+v is %q, want %q", row.info, got, row.want)
		}
	}
	if Revision() == "" {
		t.Error("a build without a revision")
	}
}
