package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
	"time"
)

// Types of bus messages.
const (
	typeState     = 1
	typeCommand   = 2
	typeTelemetry = 4
	typePolicy    = 5
	typeRequest   = 6
	typeReady     = 7
	typeError     = 8
)

// The wire types of protobuf.
const (
	wireVarint = 0
	wireDouble = 1
	wireBytes  = 2
	wireFloat  = 5
)

func varintField(b []byte, number int, value uint64) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|wireVarint)
	return binary.AppendUvarint(b, value)
}

func bytesField(b []byte, number int, value []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

func stringField(b []byte, number int, value string) []byte {
	return bytesField(b, number, []byte(value))
}

// kernelRequest is the bytes of a KernelPrefetchRequest. A zero time leaves
// issued_at out, as an empty text leaves out its field.
func kernelRequest(id, blueprint, run string, issued time.Time) []byte {
	var b []byte
	for number, text := range []string{1: id, 2: blueprint, 3: run} {
		if text != "" {
			b = stringField(b, number, text)
		}
	}
	if issued.IsZero() {
		return b
	}
	stamp := varintField(nil, 1, uint64(issued.Unix()))
	stamp = varintField(stamp, 2, uint64(issued.Nanosecond()))
	return bytesField(b, 4, stamp)
}

// envelope is the bytes of a BusEnvelope; attributes are pairs.
func envelope(kind uint64, payload []byte, attributes ...string) []byte {
	b := varintField(nil, 1, kind)
	b = bytesField(b, 2, payload)
	for i := 0; i+1 < len(attributes); i += 2 {
		pair := stringField(nil, 1, attributes[i])
		b = bytesField(b, 3, stringField(pair, 2, attributes[i+1]))
	}
	return b
}

func sign(secret string, payload []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(payload)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// field is one value of a decoded message.
type field struct {
	number uint64
	varint uint64 // also the bits of a float or double
	bytes  []byte
}

// decode reads the fields of a message in their order; ok is false when the
// bytes are no message.
func decode(b []byte) (fields []field, ok bool) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, false
		}
		b = b[n:]
		f := field{number: tag >> 3}
		size := 0
		switch tag & 7 {
		case wireVarint:
			f.varint, size = binary.Uvarint(b)
		case wireDouble:
			if size = 8; len(b) >= size {
				f.varint = binary.LittleEndian.Uint64(b)
			}
		case wireFloat:
			if size = 4; len(b) >= size {
				f.varint = uint64(binary.LittleEndian.Uint32(b))
			}
		case wireBytes:
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return nil, false
			}
			size = n + int(length)
			f.bytes = b[n:size]
		}
		if size <= 0 || size > len(b) {
			return nil, false
		}
		fields, b = append(fields, f), b[size:]
	}
	return fields, true
}

// message gives the last value of each field.
type message map[uint64]field

func decodeMessage(t testing.TB, b []byte) message {
	t.Helper()
	fields, ok := decode(b)
	if !ok {
		t.Fatalf("undecodable message %x", b)
	}
	m := message{}
	for _, f := range fields {
		m[f.number] = f
	}
	return m
}

func (m message) text(number uint64) string { return string(m[number].bytes) }

// attributesOf reads a map<string, string> field.
func attributesOf(t testing.TB, b []byte, number uint64) map[string]string {
	t.Helper()
	attributes := map[string]string{}
	fields, _ := decode(b)
	for _, f := range fields {
		if f.number == number {
			pair := decodeMessage(t, f.bytes)
			attributes[pair.text(1)] = pair.text(2)
		}
	}
	return attributes
}

// packet is what the tests read of a TelemetryPacket.
type packet struct {
	source string
	at     time.Time
	points []metricPoint
	events []event
}

// event is one that a packet tells of.
type event struct {
	description string
	attributes  map[string]string
}

// metricPoint is one measurement.
type metricPoint struct {
	name       string
	value      float64
	attributes map[string]string
}

func decodePacket(t testing.TB, b []byte) packet {
	t.Helper()
	m := decodeMessage(t, b)
	stamp := decodeMessage(t, m[2].bytes)
	p := packet{source: m.text(3), at: time.Unix(int64(stamp[1].varint), int64(stamp[2].varint))}
	fields, _ := decode(b)
	for _, f := range fields {
		if f.number == 20 {
			p.events = append(p.events, event{decodeMessage(t, f.bytes).text(2), attributesOf(t, f.bytes, 4)})
		}
		if f.number == 10 {
			point := decodeMessage(t, f.bytes)
			p.points = append(p.points, metricPoint{
				name: point.text(1), value: math.Float64frombits(point[2].varint), attributes: attributesOf(t, f.bytes, 4),
			})
		}
	}
	return p
}

// TestHandMadeBytesAreTheGoldenOnes holds this file against the bytes and the
// signature that the prototype makes of the same request.
func TestHandMadeBytesAreTheGoldenOnes(t *testing.T) {
	begin(t)
	b := envelope(typeRequest, kernelRequest("req-1", "BP-1", "run-1", time.Unix(1700000000, 123000000)))
	want := "080612210a057265712d31120442502d311a0572756e2d31220b0880e2cfaa0610c0a9d33a"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("envelope is %s, want %s", got, want)
	}
	if got := sign("test-secret", b); got != "gFJzkFEpmDJkQlWDsws4SW9O1qr/7M4xvGRJHQokfMY=" {
		t.Errorf("signature is %s", got)
	}
}
