package chaos_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// mutation makes a hostile entry; false when the good one it drew does not suit.
type mutation struct {
	name string
	make func(m *entryMaker, g good) (wireEntry, bool)
}

// hostileSize is larger than the bus allows in the hostile run.
const hostileSize = 8 << 10

// mutations lists every way an entry can be hostile. Some are signed with the
// real secret: what a broken peer would send.
var mutations = []mutation{
	{"replayed", func(_ *entryMaker, g good) (wireEntry, bool) { return g.entry(), g.guarded() }},
	{"moved", func(m *entryMaker, g good) (wireEntry, bool) {
		names := streams.Names()
		stream := names[m.rng.IntN(len(names))]
		return signedEntry(stream, g.payload, g.signature), g.bound && stream != g.stream
	}},
	{"of another secret", func(m *entryMaker, g good) (wireEntry, bool) {
		forged := m.fresh(g.kind, time.Now())
		return signedEntry(forged.stream, forged.payload, m.foreign.SignEnvelope(forged.payload)), true
	}},
	{"unsigned", func(m *entryMaker, g good) (wireEntry, bool) {
		if m.rng.IntN(2) == 0 {
			return signedEntry(g.stream, g.payload, ""), true
		}
		return wireEntry{stream: g.stream, fields: []string{"payload", string(g.payload)}}, true
	}},
	{"random signature", func(m *entryMaker, g good) (wireEntry, bool) {
		signature := base64.StdEncoding.EncodeToString(m.bytes(m.rng.IntN(64)))
		return signedEntry(g.stream, g.payload, signature), true
	}},
	{"signature of another", func(m *entryMaker, g good) (wireEntry, bool) {
		other := m.pick()
		return signedEntry(g.stream, g.payload, other.signature), other.signature != g.signature
	}},
	{"truncated", func(m *entryMaker, g good) (wireEntry, bool) {
		return signedEntry(g.stream, g.payload[:m.rng.IntN(len(g.payload))], g.signature), true
	}},
	{"truncated and signed", func(m *entryMaker, g good) (wireEntry, bool) {
		part := g.payload[:m.rng.IntN(len(g.payload))]
		return signedEntry(g.stream, part, m.ring.SignEnvelope(part)), g.kind == requestKind
	}},
	{"truncated signature", func(m *entryMaker, g good) (wireEntry, bool) {
		return signedEntry(g.stream, g.payload, g.signature[:m.rng.IntN(len(g.signature))]), true
	}},
	{"bits flipped", func(m *entryMaker, g good) (wireEntry, bool) {
		flipped := m.flip(g.payload)
		return signedEntry(g.stream, flipped, g.signature), !bytes.Equal(flipped, g.payload)
	}},
	{"bits of the signature flipped", func(m *entryMaker, g good) (wireEntry, bool) {
		flipped := string(m.flip([]byte(g.signature)))
		return signedEntry(g.stream, g.payload, flipped), flipped != g.signature
	}},
	{"extended", func(m *entryMaker, g good) (wireEntry, bool) {
		return signedEntry(g.stream, append(slices.Clone(g.payload), m.bytes(1+m.rng.IntN(9))...), g.signature), true
	}},
	{"stale", func(m *entryMaker, _ good) (wireEntry, bool) {
		return m.aged(-time.Duration(130+m.rng.IntN(1_000_000)) * time.Second)
	}},
	{"from the future", func(m *entryMaker, _ good) (wireEntry, bool) {
		return m.aged(time.Duration(30+m.rng.IntN(1_000_000)) * time.Second)
	}},
	{"nameless or undated", func(m *entryMaker, _ good) (wireEntry, bool) {
		r := request(0, m.rng.Int())
		if m.rng.IntN(2) == 0 {
			r.RequestId = ""
		} else {
			r.IssuedAt = nil
		}
		return m.envelope(streams.KernelRequests, requestKind, m.marshal(r)), true
	}},
	{"garbage", func(m *entryMaker, g good) (wireEntry, bool) {
		payload := m.bytes(40 + m.rng.IntN(200))
		payload[0] |= 7 // no wire type: even random bytes are an envelope now and then
		return signedEntry(g.stream, payload, m.ring.SignEnvelope(payload)), true
	}},
	{"garbage inside", func(m *entryMaker, g good) (wireEntry, bool) {
		// A field cut short, of a number no message has.
		return m.envelope(g.stream, g.kind, append([]byte{0xfa, 0x7f, 0x7f}, m.bytes(20)...)), true
	}},
	{"of a wrong type", func(m *entryMaker, g good) (wireEntry, bool) {
		kind := leyline.BusMessageType(m.rng.IntN(40))
		carried := kind == g.kind || leyline.NewMessage(kind) != nil &&
			(g.stream == streams.Emergency || m.route(leyline.NewMessage(kind), 0).Stream == g.stream)
		return m.envelope(g.stream, kind, m.bytes(30)), !carried
	}},
	{"oversized", func(m *entryMaker, g good) (wireEntry, bool) {
		payload := m.bytes(hostileSize)
		return signedEntry(g.stream, payload, m.ring.SignEnvelope(payload)), m.rng.IntN(20) == 0
	}},
	{"without payload", func(m *entryMaker, g good) (wireEntry, bool) {
		return wireEntry{stream: g.stream, fields: []string{"signature", g.signature, "Payload", string(g.payload)}}, true
	}},
}

const requestKind = leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST

// hostile makes one hostile entry and names its kind.
func (m *entryMaker) hostile() (wireEntry, string) {
	for {
		mutation := mutations[m.rng.IntN(len(mutations))]
		if e, ok := mutation.make(m, m.pick()); ok {
			return e, mutation.name
		}
	}
}

// agedKinds are the messages whose age counts. A request tells it by itself, the
// others only in the envelope of our client.
var agedKinds = []leyline.BusMessageType{
	leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_REQUEST, leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY,
	leyline.BusMessageType_BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR, leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND,
	leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE, leyline.BusMessageType_BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL,
}

// aged makes a message that is dated so far from now.
func (m *entryMaker) aged(off time.Duration) (wireEntry, bool) {
	kind := agedKinds[m.rng.IntN(len(agedKinds))]
	g := m.fresh(kind, time.Now().Add(off))
	return g.entry(), g.bound || kind == requestKind
}

func (m *entryMaker) pick() good { return m.recent[m.rng.IntN(len(m.recent))] }

func (m *entryMaker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.rng.Uint32())
	}
	return b
}

// flip flips one to eight bits.
func (m *entryMaker) flip(original []byte) []byte {
	b := slices.Clone(original)
	for range 1 + m.rng.IntN(8) {
		b[m.rng.IntN(len(b))] ^= 1 << m.rng.IntN(8)
	}
	return b
}

// envelope makes a signed entry of the prototype's form around any bytes.
func (m *entryMaker) envelope(stream string, kind leyline.BusMessageType, payload []byte) wireEntry {
	envelope, err := proto.Marshal(&leyline.BusEnvelope{MessageType: kind, Payload: payload})
	if err != nil {
		m.t.Fatal(err)
	}
	return signedEntry(stream, envelope, m.ring.SignEnvelope(envelope))
}
