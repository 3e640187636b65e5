package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/interop"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

// wireEntry is one stream entry as it goes onto the wire.
type wireEntry struct {
	stream string
	fields []string // name, value, ...
}

func signedEntry(stream string, payload []byte, signature string) wireEntry {
	return wireEntry{stream: stream, fields: []string{"payload", string(payload), "signature", signature}}
}

// good is a message that must be handled, once.
type good struct {
	stream, signature string
	kind              leyline.BusMessageType
	payload           []byte
	bound             bool // signs its stream, time and nonce, as our client does
}

func (g good) entry() wireEntry { return signedEntry(g.stream, g.payload, g.signature) }

// guarded reports whether a copy is refused as a replay.
func (g good) guarded() bool {
	switch leyline.NewMessage(g.kind).(type) {
	case *leyline.AdaptationCommand, *leyline.PolicyUpdate, *leyline.EmergencySignal:
		return g.bound
	default:
		return g.named()
	}
}

// named reports whether the payload itself says which message it is.
func (g good) named() bool {
	_, named := leyline.NewMessage(g.kind).(interface{ GetRequestId() string })
	return named
}

// goodAttribute holds the number of a good message; its id has it too.
const (
	goodAttribute = "good"
	idPrefix      = "id-"
)

// entryMaker makes good entries, and hostile ones from them, all from one seed.
type entryMaker struct {
	t             testing.TB
	rng           *rand.Rand
	ring, foreign *signing.Keyring
	route         func(proto.Message, leyline.MessagePriority) oona.Message
	kinds         []leyline.BusMessageType
	next          int
	recent        []good // what hostile entries are made from
}

// recentGoods bounds the memory of good entries: what is older is refused as
// stale long before anybody would replay it here.
const recentGoods = 4096

func newEntryMaker(t testing.TB, rng *rand.Rand, client *oona.Client) *entryMaker {
	foreign, err := signing.NewKeyring("another secret")
	if err != nil {
		t.Fatal(err)
	}
	m := &entryMaker{t: t, rng: rng, ring: keyring(t), foreign: foreign, route: client.Route}
	for number := range leyline.BusMessageType_name {
		if kind := leyline.BusMessageType(number); leyline.NewMessage(kind) != nil {
			m.kinds = append(m.kinds, kind)
		}
	}
	slices.Sort(m.kinds)
	return m
}

func (m *entryMaker) marshal(message proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// good makes the next good entry.
func (m *entryMaker) good() good {
	kind := m.kinds[m.rng.IntN(len(m.kinds))]
	g := m.fresh(kind, time.Now())
	if len(m.recent) < recentGoods {
		m.recent = append(m.recent, g)
	} else {
		m.recent[m.next%recentGoods] = g
	}
	m.next++
	return g
}

// fresh makes a message of its own, issued at a time; every second one in the
// form of our client, the others in that of the prototype.
func (m *entryMaker) fresh(kind leyline.BusMessageType, issued time.Time) good {
	payload := leyline.NewMessage(kind)
	interop.Fill(m.rng, payload)
	setTopFields(payload, fmt.Sprintf("%s%d-%x", idPrefix, m.next, m.rng.Uint64()), timestamppb.New(issued))
	g := good{stream: m.route(payload, 0).Stream, kind: kind, bound: m.rng.IntN(2) == 0}
	envelope := &leyline.BusEnvelope{MessageType: kind, Payload: m.marshal(payload),
		Attributes: map[string]string{goodAttribute: strconv.Itoa(m.next)}}
	if g.bound {
		envelope.Attributes["key_id"] = m.ring.KeyID()
		envelope.Attributes["stream"] = g.stream
		envelope.Attributes["issued_at_ms"] = strconv.FormatInt(issued.UnixMilli(), 10)
		envelope.Attributes["nonce"] = strconv.FormatUint(m.rng.Uint64(), 36)
	}
	g.payload = m.marshal(envelope)
	g.signature = m.ring.SignEnvelope(g.payload)
	return g
}

// setTopFields gives every text of a message the same unique id, and every time
// the same moment.
func setTopFields(message proto.Message, id string, issued *timestamppb.Timestamp) {
	m := message.ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		switch {
		case field.IsList() || field.IsMap() || field.ContainingOneof() != nil:
		case field.Kind() == protoreflect.StringKind:
			m.Set(field, protoreflect.ValueOfString(id))
		case field.Message() != nil && field.Message().FullName() == "google.protobuf.Timestamp":
			m.Set(field, protoreflect.ValueOfMessage(issued.ProtoReflect()))
		}
	}
}
