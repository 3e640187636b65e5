package transcript

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// maxText bounds a transcript as a text: an attribute may be somewhat longer.
const maxText = 60 << 10

// The first byte of what a text holds says how the rest is packed.
const (
	packedFast  = 's' // a block of S2: decisions come by the thousand, and most are short
	packedSmall = 'd' // deflated, as far as that goes
)

// Writer writes transcripts, and keeps the buffers that it needs for that. It is safe for
// concurrent use.
type Writer struct{ pool sync.Pool }

// buffers are what one transcript is written in.
type buffers struct{ plain, packed, text []byte }

// Text is a transcript as it travels and is kept: one word.
func (w *Writer) Text(t *Transcript) ([]byte, error) {
	b := w.buffers()
	defer w.pool.Put(b)
	err := b.write(t)
	return bytes.Clone(b.text), err
}

func (w *Writer) buffers() *buffers {
	if b, known := w.pool.Get().(*buffers); known {
		return b
	}
	return new(buffers)
}

// write leaves the text of a transcript in them.
func (b *buffers) write(t *Transcript) (err error) {
	b.text = b.text[:0]
	if b.plain, err = t.appendTo(b.plain[:0]); err != nil {
		return fmt.Errorf("write transcript: %w", err)
	}
	b.packed = slices.Grow(append(b.packed[:0], packedFast), s2.MaxEncodedLen(len(b.plain)))
	b.packed = b.packed[:1+len(s2.Encode(b.packed[1:cap(b.packed)], b.plain))]
	if base64.RawStdEncoding.EncodedLen(len(b.packed)) > maxText { // seldom, so that it may take longer
		if b.packed, err = deflated(b.packed[:0], b.plain); err != nil {
			return fmt.Errorf("write transcript: %w", err)
		}
	}
	if size := base64.RawStdEncoding.EncodedLen(len(b.packed)); size > maxText {
		return fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, size, maxText)
	}
	if most := mostOf(b.packed); len(b.plain) > most { // nobody could read it, nor the export that it is in
		return fmt.Errorf("%w: it unfolds to %d bytes, at most %d", errTooLarge, len(b.plain), most)
	}
	b.text = base64.RawStdEncoding.AppendEncode(b.text, b.packed)
	return nil
}

func deflated(to, plain []byte) ([]byte, error) {
	packed := bytes.NewBuffer(append(to, packedSmall))
	press, err := flate.NewWriter(packed, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = press.Write(plain)
	err = errors.Join(err, press.Close())
	return packed.Bytes(), err
}

// appendTo writes what is JSON behind its length, the record behind its own, and the packet: what
// has a form of its own, keeps it.
func (t *Transcript) appendTo(to []byte) ([]byte, error) {
	head, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	to = append(binary.AppendUvarint(to, uint64(len(head))), head...)
	to = append(binary.AppendUvarint(to, uint64(len(t.Record))), t.Record...)
	return append(to, t.Packet...), nil
}

// Packet tells whoever collects telemetry of a decision on a run. The report as it came need not be
// encoded again; nil has it encoded.
func (w *Writer) Packet(r *Recording, report []byte) (*leyline.TelemetryPacket, error) {
	b := w.buffers()
	defer w.pool.Put(b)
	r.transcript.Packet = report
	t, err := r.written(&b.plain)
	if err != nil {
		return nil, err
	}
	if err := b.write(t); err != nil {
		return nil, err
	}
	run := r.state.Packet.GetTrainingRunId()
	return telemetry.At("tamiyo", "recorded-"+t.Outcome.Record[:32], time.Unix(0, t.Now)).
		Indicator("training_run_id", run).
		Health(leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "decision_recorded").
		WithEvents(telemetry.Event("decision_recorded", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"training_run_id", run, "transcript", string(b.text))).
		Build(), nil
}
