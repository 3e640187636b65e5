package process

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// described is what `git describe` said of the sources; make build has the linker set it.
var described string

// Version is the line that --version prints: the command, the version of its sources, the
// compiler and the platform. Without make it is the version of the module that go install or
// go build know, or "unknown".
func Version(name string) string {
	info, _ := debug.ReadBuildInfo()
	return fmt.Sprintf("%s %s %s %s/%s", name, cmp.Or(described, versionOf(info)), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func versionOf(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "unknown" // built without version control
	}
	return info.Main.Version
}
