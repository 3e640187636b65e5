package process

import (
	"fmt"
	"runtime"

	"github.com/esper-lite/weatherlight/internal/version"
)

// Version is the line that --version prints: the command, the version of its sources, the
// compiler and the platform.
func Version(name string) string {
	return fmt.Sprintf("%s %s %s %s/%s", name, version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
