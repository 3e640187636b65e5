package weatherlight

import (
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// newSignals watches the shared memory of a trainer on this machine, where it has names.
func (s *Service) newSignals() *shmsignal.Watch {
	names := s.settings.Tolaria
	return shmsignal.New(
		shmsignal.Signal{
			Kind: shmsignal.Rollback, Name: names.RollbackSignal,
			Report: func(t shmsignal.Trigger) bool { return s.telemetry.Raise(emergency.RollbackPacket(t)) },
		},
		shmsignal.Signal{
			Kind: shmsignal.Emergency, Name: names.EmergencySignal,
			Report: func(t shmsignal.Trigger) bool { return s.emergency.Shared(t) },
		})
}

// signalWorkers are none when no signal has a name. The reporter stops last.
func (s *Service) signalWorkers() []supervise.Spec {
	if s.signals.Empty() {
		return nil
	}
	return []supervise.Spec{
		{Name: workerSignalReports, Worker: supervise.WorkerFunc(s.signals.Report)},
		{Name: workerSignals, Worker: supervise.WorkerFunc(s.signals.Poll)},
	}
}

// signalPoints are the counters of a segment under a prefix. Those that never counted
// are left out.
func signalPoints(stats shmsignal.Stats, prefix string) []metrics.Point {
	var points []metrics.Point
	if stats.Detections > 0 {
		points = append(points,
			metrics.Point{Name: prefix + ".detections_total", Value: float64(stats.Detections), Unit: "count"},
			metrics.Point{Name: prefix + ".last_detect_ms_ago", Value: metrics.SinceMs(stats.LastAt), Unit: "ms"})
	}
	if stats.Skipped > 0 {
		points = append(points, metrics.Point{Name: prefix + ".skipped_total", Value: float64(stats.Skipped), Unit: "count"})
	}
	return points
}
