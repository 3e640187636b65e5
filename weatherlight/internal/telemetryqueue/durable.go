package telemetryqueue

import (
	"context"
	"log/slog"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/outbox"
)

const (
	// putTimeout bounds a write to the outbox: the file is on a local disk.
	putTimeout = 2 * time.Second
	// drainTimeout bounds how long a stop waits for the outbox, and drainPoll is
	// the pause between two looks. What is left goes out after the next start.
	drainTimeout = 2 * time.Second
	drainPoll    = 5 * time.Millisecond
)

// Durable keeps on disk what must not be lost on the way to the bus.
type Durable struct {
	Outbox *outbox.Outbox
	// Route says where a packet travels.
	Route  func(*leyline.TelemetryPacket) oona.Message
	Logger *slog.Logger
}

// Keep puts a packet into the outbox.
func (d Durable) Keep(packet *leyline.TelemetryPacket) bool {
	// An alarm is kept whatever is being stopped: the write has a bound of its own.
	ctx, cancel := context.WithTimeout(context.Background(), putTimeout)
	defer cancel()
	message := d.Route(packet)
	message.Once = "telemetry:" + packet.GetPacketId()
	err := d.Outbox.Put(ctx, message)
	if err != nil {
		d.Logger.Warn("packet not kept on disk", "packet", packet.GetPacketId(), "error", err)
	}
	return err == nil
}

// PublishFieldReport takes a report over: for the field-report log it is published
// once it is safe in the outbox.
func (d Durable) PublishFieldReport(ctx context.Context, report *leyline.FieldReport) error {
	return d.Outbox.Put(ctx, oona.Message{Payload: report, Once: "field-report:" + report.GetReportId()})
}

// AnnounceKernel takes the announcement of a stored kernel over until the bus has it.
func (d Durable) AnnounceKernel(ctx context.Context, update *leyline.KernelCatalogUpdate) error {
	once := "kernel:" + update.GetBlueprintId() + ":" + update.GetChecksum()
	return d.Outbox.Put(ctx, oona.Message{Payload: update, Once: once})
}

// Drain waits until the bus has what was put, for 2 s at most.
func (d Durable) Drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for {
		waiting, _, err := d.Outbox.Waiting(ctx)
		if err != nil || waiting == 0 || !cadence.Sleep(ctx, drainPoll) {
			return
		}
	}
}
