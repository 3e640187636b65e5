package metrics

import (
	"runtime"

	"github.com/esper-lite/weatherlight/internal/version"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Built tells which sources run. It is all in the labels, which packets have no use for.
func Built() []telemetry.Figure {
	return []telemetry.Figure{telemetry.Measure("weatherlight.build_info{goversion,revision,version}", "flag",
		"Always 1: the version that --version tells, the commit of its sources and the compiler.", 1,
		runtime.Version(), version.Revision(), version.String())}
}
