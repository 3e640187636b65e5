package weatherlight

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// outboxFile is the name of the outbox inside the data folder.
const outboxFile = "outbox.db"

const (
	// putTimeout bounds a write to the outbox: the file is on a local disk.
	putTimeout = 2 * time.Second
	// drainTimeout bounds how long a stop waits for the outbox, and drainPoll is
	// the pause between two looks. What is left goes out after the next start.
	drainTimeout = 2 * time.Second
	drainPoll    = 5 * time.Millisecond
)

// openOutbox opens the file of what must not be lost on the way to the bus.
func (s *Service) openOutbox(ctx context.Context) error {
	box, err := outbox.Open(ctx, outbox.Config{
		File:   filepath.Join(s.settings.Weatherlight.DataDir, outboxFile),
		Logger: s.logger.With("part", "outbox"),
	})
	s.outbox = box
	return err
}

// outboxWorker publishes what the outbox holds.
func (s *Service) outboxWorker() supervise.Spec {
	run := func(ctx context.Context) error { return s.outbox.Run(ctx, s.bus) }
	return supervise.Spec{Name: workerOutbox, Worker: supervise.WorkerFunc(run)}
}

// drainOutbox waits until the bus has what was put, and stops the worker.
func (s *Service) drainOutbox(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for {
		waiting, _, err := s.outbox.Waiting(bounded)
		if err != nil || waiting == 0 || !cadence.Sleep(bounded, drainPoll) {
			break
		}
	}
	return s.supervisor.StopWorker(ctx, workerOutbox)
}

// publishReport takes a field report over until the bus has it.
func (s *Service) publishReport(ctx context.Context, report *leyline.FieldReport) error {
	return s.outbox.Put(ctx, oona.Message{Payload: report, Once: "field-report:" + report.GetReportId()})
}

// announceKernel takes the announcement of a stored kernel over until the bus has it.
func (s *Service) announceKernel(ctx context.Context, update *leyline.KernelCatalogUpdate) error {
	once := "kernel:" + update.GetBlueprintId() + ":" + update.GetChecksum()
	return s.outbox.Put(ctx, oona.Message{Payload: update, Once: once})
}

// raiseAlarm takes an alarm over until it is delivered, whatever the bus says
// meanwhile. It returns false when there is room for it nowhere.
func (s *Service) raiseAlarm(packet *leyline.TelemetryPacket) bool {
	return s.setAside(packet) || s.telemetry.TryOffer(packet)
}

// acknowledgePolicy takes over what became of a policy update until the bus has
// stored it: who sent the update may be waiting for it.
func (s *Service) acknowledgePolicy(packet *leyline.TelemetryPacket) {
	if !s.setAside(packet) {
		s.telemetry.Offer(packet)
	}
}

// setAside puts a packet into the outbox.
func (s *Service) setAside(packet *leyline.TelemetryPacket) bool {
	// An alarm is kept whatever is being stopped: the write has a bound of its own.
	ctx, cancel := context.WithTimeout(context.Background(), putTimeout)
	defer cancel()
	message := s.telemetryMessage(packet)
	message.Once = "telemetry:" + packet.GetPacketId()
	err := s.outbox.Put(ctx, message)
	if err != nil {
		s.logger.Warn("packet not kept on disk", "packet", packet.GetPacketId(), "error", err)
	}
	return err == nil
}

// outboxPoints tell what waits for the bus.
func (s *Service) outboxPoints(ctx context.Context) []metrics.Point {
	waiting, refused, err := s.outbox.Waiting(ctx)
	if err != nil {
		return nil // A snapshot without it is better than none.
	}
	return []metrics.Point{
		{Name: "weatherlight.outbox.waiting", Value: float64(waiting), Unit: "count"},
		{Name: "weatherlight.outbox.refused", Value: float64(refused), Unit: "count"},
	}
}

// isPressure says that the bus has no room now for what it would else take.
func isPressure(err error) bool {
	return errors.Is(err, oona.ErrRateLimited) || errors.Is(err, oona.ErrOverloaded)
}
