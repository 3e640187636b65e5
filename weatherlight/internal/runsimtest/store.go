package runsimtest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// What package oona promises of records and of the streams of runs.
const (
	streamBound = 64
	streamLife  = 24 * time.Hour
	recordLife  = 7 * 24 * time.Hour
	recordBound = 256 << 10
	claimStep   = time.Millisecond / 64
	claimSteps  = 64
)

// store is the Redis of the simulation: records, the index of what is due, and
// the streams of runs. Its calls take effect at once and all of them one after
// the other, as scripts do.
type store struct {
	now     func() time.Time
	draw    func(n int64) int64
	defects Defects

	records map[oona.RecordKey]*storedRecord
	index   map[string]map[string]int64 // by part and run: when it is due, in nanoseconds; no whole millisecond is a claim
	streams map[string]*orderStream     // by run

	conflicts int
	// drops, when not nil, says whether a stream loses an order.
	drops func() bool

	// Observers; nil: none.
	saved     func(write oona.RecordWrite, before oona.Record, version int64)
	due       func(at time.Time)
	forgotten func(key oona.RecordKey) // a record is lost, and not by its owner
}

type storedRecord struct {
	version        int64
	value, pending []byte
	expires        time.Time
}

// orderStream is the stream of one run.
type orderStream struct {
	last    int64 // id of the last entry
	entries []orderEntry
	expires time.Time
}

type orderEntry struct {
	id     int64
	order  *leyline.AdaptationCommand
	stored time.Time
}

func newStore(now func() time.Time, draw func(int64) int64) *store {
	s := &store{now: now, draw: draw}
	s.flush()
	return s
}

// flush forgets everything.
func (s *store) flush() {
	if s.forgotten != nil {
		for key := range s.records {
			s.forgotten(key)
		}
	}
	s.records = make(map[oona.RecordKey]*storedRecord)
	s.index = make(map[string]map[string]int64)
	s.streams = make(map[string]*orderStream)
}

// lose forgets one record.
func (s *store) lose(key oona.RecordKey) {
	if _, known := s.records[key]; known && s.forgotten != nil {
		s.forgotten(key)
	}
	delete(s.records, key)
}

func (s *store) find(key oona.RecordKey) *storedRecord {
	record, ok := s.records[key]
	if ok && !s.now().Before(record.expires) {
		s.lose(key)
		return nil
	}
	return record
}

// Load reads a record.
func (s *store) Load(key oona.RecordKey) oona.Record {
	record := s.find(key)
	if record == nil {
		return oona.Record{}
	}
	return oona.Record{
		Version: record.version, Value: slices.Clone(record.value), Pending: slices.Clone(record.pending),
	}
}

// Save writes a record by compare-and-set, and appends its orders.
func (s *store) Save(write oona.RecordWrite) (int64, error) {
	if len(write.Value)+len(write.Pending) > recordBound || len(write.Orders) > streamBound {
		return 0, fmt.Errorf("save record: %w", oona.ErrTooLarge)
	}
	before := s.Load(write.Key)
	if before.Version != write.Version && !s.defects.BlindWrites {
		s.conflicts++
		return 0, &oona.ConflictError{Key: write.Key, Expected: write.Version, Found: before.Version}
	}
	version := max(before.Version+1, s.now().UnixMicro())
	if !write.Due.IsZero() {
		s.Schedule(write.Key.Part, write.Key.Run, write.Due)
	}
	life := cmp.Or(max(write.TTL, 0), recordLife)
	record := &storedRecord{version: version, value: slices.Clone(write.Value), expires: s.now().Add(life)}
	if len(write.Pending) > 0 && !s.defects.ForgetsPending {
		record.pending = slices.Clone(write.Pending)
	}
	s.records[write.Key] = record
	s.append(write.Key.Run, write.Orders)
	if s.saved != nil {
		s.saved(write, before, version)
	}
	return version, nil
}

func (s *store) append(run string, orders []*leyline.AdaptationCommand) {
	if len(orders) == 0 {
		return
	}
	stream := s.stream(run)
	if stream == nil {
		stream = &orderStream{}
		s.streams[run] = stream
	}
	for _, order := range orders {
		if s.drops != nil && s.drops() {
			continue
		}
		stream.last = max(stream.last+1, s.now().UnixMilli()<<16)
		copied := proto.Clone(order).(*leyline.AdaptationCommand)
		stream.entries = append(stream.entries, orderEntry{id: stream.last, order: copied, stored: s.now()})
	}
	if excess := len(stream.entries) - streamBound; excess > 0 {
		stream.entries = slices.Clone(stream.entries[excess:])
	}
	stream.expires = s.now().Add(streamLife)
}

// stream is the stream of a run, nil when there is none.
func (s *store) stream(run string) *orderStream {
	stream, ok := s.streams[run]
	if ok && !s.now().Before(stream.expires) {
		delete(s.streams, run)
		return nil
	}
	return stream
}

// Settle forgets the pending outputs of a version.
func (s *store) Settle(key oona.RecordKey, version int64) {
	if record := s.find(key); record != nil && record.version == version {
		record.pending = nil
	}
}
