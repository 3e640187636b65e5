package nissa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/ingest"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
)

// role is a stream and the types that are heard on it.
type role struct {
	stream string
	types  []leyline.BusMessageType
}

// roles is the table of what the service listens to. Urgent packets of any type
// travel on the emergency stream instead of their own.
func roles(streams oona.Streams) []role {
	const (
		telemetry = leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY
		state     = leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE
		command   = leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND
		report    = leyline.BusMessageType_BUS_MESSAGE_TYPE_FIELD_REPORT
		emergency = leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL
	)
	return []role{
		{streams.Telemetry, []leyline.BusMessageType{telemetry}},
		{streams.Normal, []leyline.BusMessageType{state, command, report}},
		{streams.Emergency, []leyline.BusMessageType{emergency, telemetry, state, command, report}},
	}
}

// streams are the names of the streams, each once: a deployment may give
// several roles one name.
func (s *Service) streams() []string {
	var names []string
	for _, role := range roles(s.config.Streams) {
		if !slices.Contains(names, role.stream) {
			names = append(names, role.stream)
		}
	}
	return names
}

// batch is how many messages are read at a time: large ones must not fill the memory.
// Those of two batches are handled at once, so that many are stored together.
const batch = 128

// consumer returns the worker that reads stream.
func (s *Service) consumer(stream string) supervise.Worker {
	return supervise.WorkerFunc(func(ctx context.Context) error {
		defer s.reading.set(stream, false)
		sub := oona.Subscription{
			Stream:      stream,
			Group:       s.config.Group,
			Handlers:    s.handlers(stream),
			OnReady:     func() { s.reading.set(stream, true) },
			Batch:       batch,
			Concurrency: 2 * batch,
		}
		if s.kept != nil {
			sub.Needs = s.kept.store.Ping
		}
		err := s.config.Bus.Consume(ctx, supervise.Work(ctx), sub)
		if err != nil { // outages heal inside: this subscription can never work
			return supervise.Fatal(fmt.Errorf("consume %s: %w", stream, err))
		}
		return nil
	})
}

func (s *Service) handlers(stream string) map[leyline.BusMessageType]oona.Handler {
	handlers := map[leyline.BusMessageType]oona.Handler{}
	for _, role := range roles(s.config.Streams) {
		if role.stream != stream {
			continue
		}
		for _, kind := range role.types {
			handlers[kind] = s.handle
		}
	}
	return handlers
}

// handle returns when the message is in the store: only then is it acknowledged. What the
// store had before has been counted before, and may have no document: a kill came between.
func (s *Service) handle(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
	s.watch(d)
	judge, err := s.unjudged(d.Payload)
	if err != nil {
		return nil, err
	}
	message := runs.Message{Stream: d.Stream, Entry: d.ID, Payload: d.Payload, Attributes: d.Attributes, At: d.Published, Judge: judge}
	fresh, err := s.take(ctx, message)
	if err != nil {
		return nil, err
	}
	if s.documents != nil {
		s.documents.Keep(&message)
	}
	if !fresh {
		s.recorder.repeat(d.Type)
		return nil, nil
	}
	if s.kept != nil {
		s.recorder.store.leaveOut(message.LeftOut())
	}
	s.record(d.Payload, d.Stream+"\x00"+d.ID)
	return nil, nil
}

// take brings a message into the store, if there is one, and says whether it is new there.
func (s *Service) take(ctx context.Context, message runs.Message) (fresh bool, err error) {
	if s.kept == nil {
		return true, nil
	}
	fresh, err = s.kept.group.Take(ctx, message)
	if err != nil && !errors.Is(err, ingest.ErrRefused) { // what is refused is a dead letter in the end: others must not wait behind it
		err = oona.Outage(err)
	}
	return fresh, err
}

func (s *Service) record(payload proto.Message, entry string) {
	switch message := payload.(type) {
	case *leyline.TelemetryPacket:
		fresh := s.recorder.recordTelemetry(message)
		if fresh && s.desk != nil && s.kept == nil { // what the store has is judged from there
			s.desk.Observe(message)
		}
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
