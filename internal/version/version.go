// Package version tells which sources a binary was built from.
package version

import (
	"cmp"
	"runtime/debug"
)

// described is what a build is given by
// -ldflags "-X github.com/esper-lite/weatherlight/internal/version.described=v1.2.3":
// make build gives it what git describe says.
var described string

// String is the version that the build was given, or else that of the module, which Go knows
// in a checkout and from a module proxy; "(devel)" when it knows none.
func String() string {
	info, _ := debug.ReadBuildInfo()
	return cmp.Or(described, ofModule(info), "(devel)")
}

// committed is the revision, for a build that is told to keep what Go knows of the checkout out:
// -ldflags "-X github.com/esper-lite/weatherlight/internal/version.committed=0123abcd".
var committed string

// Revision is the commit of the sources, with "-modified" when they are not as it has them;
// "unknown" when the build was not told.
func Revision() string {
	info, _ := debug.ReadBuildInfo()
	return cmp.Or(committed, ofCheckout(info), "unknown")
}

func ofCheckout(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	told := make(map[string]string)
	for _, setting := range info.Settings {
		told[setting.Key] = setting.Value
	}
	if revision := told["vcs.revision"]; revision != "" && told["vcs.modified"] == "true" {
		return revision + "-modified"
	}
	return told["vcs.revision"]
}

func ofModule(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	return info.Main.Version
}
