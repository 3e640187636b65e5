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

// Writer writes transcripts, and keeps the room that it needs for that. It is safe for
// concurrent use.
type Writer struct{ pool sync.Pool }

// desk is the room that one transcript is written in.
type desk struct{ plain, packed, text []byte }

// Text is a transcript as it travels and is kept: one word.
func (w *Writer) Text(t *Transcript) ([]byte, error) {
	d := w.desk()
	defer w.pool.Put(d)
	err := d.write(t)
	return bytes.Clone(d.text), err
}

func (w *Writer) desk() *desk {
	if d, known := w.pool.Get().(*desk); known {
		return d
	}
	return new(desk)
}

// write leaves the text of a transcript on the desk.
func (d *desk) write(t *Transcript) (err error) {
	d.text = d.text[:0]
	if d.plain, err = t.appendTo(d.plain[:0]); err != nil {
		return fmt.Errorf("write transcript: %w", err)
	}
	d.packed = slices.Grow(append(d.packed[:0], packedFast), s2.MaxEncodedLen(len(d.plain)))
	d.packed = d.packed[:1+len(s2.Encode(d.packed[1:cap(d.packed)], d.plain))]
	if base64.RawStdEncoding.EncodedLen(len(d.packed)) > maxText { // seldom, so that it may take longer
		if d.packed, err = deflated(d.packed[:0], d.plain); err != nil {
			return fmt.Errorf("write transcript: %w", err)
		}
	}
	if size := base64.RawStdEncoding.EncodedLen(len(d.packed)); size > maxText {
		return fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, size, maxText)
	}
	if most := mostOf(d.packed); len(d.plain) > most { // nobody could read it, nor the export that it is in
		return fmt.Errorf("%w: it unfolds to %d bytes, at most %d", errTooLarge, len(d.plain), most)
	}
	d.text = base64.RawStdEncoding.AppendEncode(d.text, d.packed)
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

// Packet tells whoever collects telemetry of a decision on a run.
func (w *Writer) Packet(r *Recording) (*leyline.TelemetryPacket, error) {
	d := w.desk()
	defer w.pool.Put(d)
	t, err := r.written(&d.plain)
	if err != nil {
		return nil, err
	}
	if err := d.write(t); err != nil {
		return nil, err
	}
	run := r.state.Packet.GetTrainingRunId()
	return telemetry.At("tamiyo", "recorded-"+t.Outcome.Record[:32], time.Unix(0, t.Now)).
		Indicator("training_run_id", run).
		Health(leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "decision_recorded").
		WithEvents(telemetry.Event("decision_recorded", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"training_run_id", run, "transcript", string(d.text))).
		Build(), nil
}
