package runs

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
)

// Message is one message as the bus delivered it.
type Message struct {
	Stream, Entry string            // where it lies
	Payload       proto.Message     //
	Attributes    map[string]string // of its envelope
	At            time.Time         // when the bus stored it
	Judge         string            // what of it is to be looked at for alerts; empty: nothing
}

// Unjudged is what is to be looked at for alerts, or what somebody wants of who looks.
type Unjudged struct {
	Seq  int64 // its place, in the order in which it came
	Body string
}

// Key is what a message is known by: the same each time it is delivered, and each time it
// is published under its name. Made is when it says that it was, in microseconds, so that
// what is told at one time lies together, or 0.
type Key struct{ Made, Hash int64 }

// Compare orders keys.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Made, other.Made), cmp.Compare(k.Hash, other.Hash))
}

// Key is that of the message. One without a name is its entry.
func (m *Message) Key() Key {
	var buffer [256]byte
	text := buffer[:0]
	kind, owner, id, made := m.name()
	if id == "" {
		kind, owner, id, made = "entry", m.Stream, m.Entry, m.At.UnixMicro()
	}
	for _, part := range []string{kind, owner, id} {
		text = append(strconv.AppendInt(text, int64(len(part)), 10), part...)
	}
	sum := sha256.Sum256(text)
	return Key{made, int64(binary.BigEndian.Uint64(sum[:]))} //nolint:gosec // bits, not a number
}

// entryAfter reports whether an entry of a stream lies behind another one.
func entryAfter(entry, other string) bool {
	numbers := func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }
	ms, seq, _ := strings.Cut(entry, "-")
	otherMs, otherSeq, _ := strings.Cut(other, "-")
	return cmp.Or(numbers(ms, otherMs), numbers(seq, otherSeq)) > 0
}

// microsOf has no bounds: any number will do, as long as it is the same each time.
func microsOf(stamp *timestamppb.Timestamp) int64 {
	return stamp.GetSeconds()*1e6 + int64(stamp.GetNanos())/1e3
}

// name is whose id the message has, and which, and when it says that it was made. Ids of
// packets are unique for their source.
func (m *Message) name() (kind, owner, id string, made int64) {
	switch p := m.Payload.(type) {
	case *leyline.TelemetryPacket:
		return "packet", p.GetSourceSubsystem(), p.GetPacketId(), microsOf(p.GetTimestamp())
	case *leyline.SystemStatePacket:
		return "state", p.GetTrainingRunId(), p.GetPacketId(), int64(p.GetTimestampNs() / 1000) //nolint:gosec // fits
	case *leyline.FieldReport:
		return "report", "", p.GetReportId(), 0
	case *leyline.AdaptationCommand:
		return "command", p.GetIssuedBy(), p.GetCommandId(), 0 // dated anew each time that it is signed
	default:
		return "", "", "", 0
	}
}

// LeftOut is how many events of a packet are too many to be kept.
func (m *Message) LeftOut() int {
	packet, is := m.Payload.(*leyline.TelemetryPacket)
	if !is {
		return 0
	}
	return len(packet.GetEvents()) - len(eventsOf(packet))
}

const (
	lateness = 24 * time.Hour // a packet that waited longer on a disk is dated by its arrival
	skew     = time.Minute
)

// date is when a message says that it was made, if that can be, or when the bus stored it:
// telemetry may wait for the bus, and its order must not suffer from that.
func (m *Message) date(stamp *timestamppb.Timestamp) time.Time {
	if !stamp.IsValid() || stamp.GetSeconds() == 0 {
		return m.At
	}
	made := stamp.AsTime().Truncate(time.Microsecond)
	if made.After(m.At.Add(skew)) || made.Before(m.At.Add(-lateness)) {
		return m.At
	}
	return made
}
