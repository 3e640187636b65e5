package weatherlight

import (
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
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
