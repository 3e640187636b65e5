package emergency

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// relayTimeout bounds how long a relayed emergency may take to be kept: it is written to a
// local disk.
const relayTimeout = 2 * time.Second

// relayedOrigin marks the emergencies that we put on the bus because they came
// through shared memory: they were told of there.
const relayedOrigin = "weatherlight:" + sharedOrigin

// actingLevel is the emergency from which on runs act; a milder one is told of.
const actingLevel = leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE

// Shared takes an emergency from shared memory. It is told of at once, and
// one that runs have to act on goes to the bus, durably: there it reaches them as
// any other does. It returns false when there is room for it nowhere.
func (w *Watch) Shared(raised shmsignal.Trigger) bool {
	if !w.tellShared(raised) {
		return false
	}
	if raised.Level < actingLevel {
		return true
	}
	signal := &leyline.EmergencySignal{
		Version: 1, Level: raised.Level, Reason: raised.Reason, Origin: relayedOrigin,
		TriggeredAt: timestamppb.Now(), MonotonicTimeMs: raised.AtMs,
	}
	ctx, cancel := context.WithTimeout(context.Background(), relayTimeout) // as an alarm: whatever is being stopped
	defer cancel()
	once := fmt.Sprintf("emergency:%s:%s:%d", w.config.Instance, sharedID(raised), raised.Level)
	if err := w.config.Relay(ctx, oona.Message{Payload: signal, Once: once}); err != nil {
		w.config.Logger.Warn("emergency not kept on disk", "reason", raised.Reason, "error", err)
		return false
	}
	return true
}

// Signal takes an emergency from the bus: it is told of, and acts on
// the run that it names, or on all. A mild one for all runs is told of once, here.
func (w *Watch) Signal(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	signal, ok := d.Payload.(*leyline.EmergencySignal)
	if !ok {
		return nil, oona.Permanent(fmt.Errorf("emergency is %T", d.Payload))
	}
	id := emergencyID(signal, d.ID)
	if signal.GetOrigin() != relayedOrigin {
		if err := w.tellSignal(signal, id); err != nil {
			return nil, err
		}
	}
	if signal.GetRunId() == "" && signal.GetLevel() < actingLevel {
		return nil, nil
	}
	err := w.config.Act(ctx, signal.GetRunId(), kasmina.Emergency{
		Level: signal.GetLevel(), Reason: signal.GetReason(), Origin: signal.GetOrigin(), ID: id,
	})
	if err != nil {
		return nil, fmt.Errorf("act on emergency %q: %w", signal.GetReason(), err)
	}
	return nil, nil
}

// emergencyID tells a signal from others, and knows it again when it is delivered
// twice. One without a time is known by its entry alone.
func emergencyID(signal *leyline.EmergencySignal, entry string) string {
	moment := "entry/" + entry
	switch triggered := signal.GetTriggeredAt(); {
	case triggered.IsValid():
		moment = strconv.FormatUint(signal.GetMonotonicTimeMs(), 10) + "/" + strconv.FormatInt(triggered.AsTime().UnixNano(), 10)
	case signal.GetMonotonicTimeMs() != 0:
		moment = strconv.FormatUint(signal.GetMonotonicTimeMs(), 10)
	}
	return fmt.Sprintf("%s/%d/%s", signal.GetOrigin(), signal.GetLevel(), moment)
}
