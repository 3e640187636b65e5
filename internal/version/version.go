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

func ofModule(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	return info.Main.Version
}
