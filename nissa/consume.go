package nissa

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
)

// streams are the streams the service reads, each once: a deployment may give
// several roles one name.
func (s *Service) streams() []string {
	var names []string
	for _, name := range []string{s.config.Streams.Telemetry, s.config.Streams.Normal, s.config.Streams.Emergency} {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// consumer returns the worker that reads stream.
func (s *Service) consumer(stream string) supervise.Worker {
	return supervise.WorkerFunc(func(ctx context.Context) error {
		defer s.reading.set(stream, false)
		err := s.config.Bus.Consume(ctx, supervise.Work(ctx), oona.Subscription{
			Stream:   stream,
			Group:    s.config.Group,
			Handlers: s.handlers(),
			OnReady:  func() { s.reading.set(stream, true) },
		})
		if err != nil {
			return fmt.Errorf("consume %s: %w", stream, err)
		}
		return nil
	})
}

// handlers are the same on every stream: urgent packets of a type travel on
// another stream than the others.
func (s *Service) handlers() map[leyline.BusMessageType]oona.Handler {
	return map[leyline.BusMessageType]oona.Handler{
		leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY:        s.handle,
		leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE:     s.handle,
		leyline.BusMessageType_BUS_MESSAGE_TYPE_FIELD_REPORT:     s.handle,
		leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL: s.handle,
	}
}

func (s *Service) handle(_ context.Context, d *oona.Delivery) ([]oona.Message, error) {
	s.record(d.Payload, d.Stream+"\x00"+d.ID)
	return nil, nil
}

func (s *Service) record(payload proto.Message, entry string) {
	switch message := payload.(type) {
	case *leyline.TelemetryPacket:
		s.recorder.recordTelemetry(message)
	case *leyline.SystemStatePacket:
		s.recorder.recordState(message)
	case *leyline.FieldReport:
		s.recorder.recordReport(message)
	case *leyline.EmergencySignal:
		s.recorder.recordEmergency(message, entry)
	}
}

// reading knows which streams are being read.
type reading struct {
	mu      sync.Mutex
	streams map[string]bool
}

func (r *reading) set(stream string, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams == nil {
		r.streams = map[string]bool{}
	}
	r.streams[stream] = on
}

// missing returns those of wanted that are not being read.
func (r *reading) missing(wanted []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var missing []string
	for _, stream := range wanted {
		if !r.streams[stream] {
			missing = append(missing, stream)
		}
	}
	return missing
}
