package transcript

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Bounds of what is written and read.
const (
	maxText   = 60 << 10 // of a transcript as a text: an attribute may be somewhat longer
	maxOpened = 8 << 20  // of what such a text may unfold to
	maxLine   = 1 << 20
	maxLines  = 4 << 20
)

// Errors of what cannot be read or written.
var (
	errTooLarge  = errors.New("transcript is too large")
	errMalformed = errors.New("no transcript")
)

// LineError says which line of an export cannot be read.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %.300s", e.Line, e.Err) }

func (e *LineError) Unwrap() error { return e.Err }

// Writer writes transcripts, and keeps the large tables that it needs for that. It is safe
// for concurrent use.
type Writer struct{ pool sync.Pool }

// Text is a transcript as it travels and is kept: one word.
func (w *Writer) Text(t *Transcript) ([]byte, error) {
	plain, err := json.Marshal((*plainTranscript)(t))
	if err != nil {
		return nil, fmt.Errorf("write transcript: %w", err)
	}
	text, err := w.pack(plain)
	if err == nil && len(text) > maxText { // seldom, so that it may take longer
		text, err = packedSmall(plain)
	}
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, len(text), maxText)
	}
	return text, err
}

// pack packs with what the last one left.
func (w *Writer) pack(plain []byte) ([]byte, error) {
	press, known := w.pool.Get().(*flate.Writer)
	if !known {
		var err error
		if press, err = flate.NewWriter(io.Discard, flate.BestSpeed); err != nil {
			return nil, fmt.Errorf("write transcript: %w", err)
		}
	}
	defer w.pool.Put(press)
	return packed(press, plain)
}

func packed(press *flate.Writer, plain []byte) ([]byte, error) {
	var text bytes.Buffer
	press.Reset(&text)
	_, err := press.Write(plain)
	if err = errors.Join(err, press.Close()); err != nil {
		return nil, fmt.Errorf("write transcript: %w", err)
	}
	return base64.RawStdEncoding.AppendEncode(nil, text.Bytes()), nil
}

func packedSmall(plain []byte) ([]byte, error) {
	press, err := flate.NewWriter(io.Discard, flate.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("write transcript: %w", err)
	}
	return packed(press, plain)
}

// plainTranscript is one as JSON.
type plainTranscript Transcript

// UnmarshalText reads what a Writer wrote.
func (t *Transcript) UnmarshalText(text []byte) error {
	if len(text) > maxLine {
		return fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, len(text), maxLine)
	}
	packed, err := base64.RawStdEncoding.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxOpened+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errMalformed, err)
	case len(plain) > maxOpened:
		return fmt.Errorf("%w: it unfolds to more than %d bytes", errTooLarge, maxOpened)
	}
	read := plainTranscript{}
	if err := json.Unmarshal(plain, &read); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if read.Format != format {
		return fmt.Errorf("%w: format %d, want %d", errMalformed, read.Format, format)
	}
	*t = Transcript(read)
	if _, err := t.state(); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if _, err := t.known(); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// Packet tells whoever collects telemetry of a decision on a run.
func (w *Writer) Packet(r *Recording) (*leyline.TelemetryPacket, error) {
	t, err := r.Transcript()
	if err != nil {
		return nil, err
	}
	text, err := w.Text(t)
	if err != nil {
		return nil, err
	}
	run := r.state.Packet.GetTrainingRunId()
	return telemetry.At("tamiyo", "recorded-"+t.Outcome.Record[:32], time.Unix(0, t.Now)).
		Indicator("training_run_id", run).
		Health(leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "decision_recorded").
		WithEvents(telemetry.Event("decision_recorded", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"training_run_id", run, "transcript", string(text))).
		Build(), nil
}

// Run is what is recorded of one.
type Run struct {
	ID        string
	Decisions []*Transcript // in their order
	Commands  []string      // that the bus saw the controller give, by their ids
	Cut       bool          // its export does not say that it is whole
}

// line is one of an export, as far as it matters here.
type line struct {
	Run *struct {
		ID string `json:"id"`
	} `json:"run"`
	Event *struct {
		Run     string            `json:"run"`
		Kind    string            `json:"kind"`
		Source  string            `json:"source"`
		Details map[string]string `json:"details"`
	} `json:"event"`
	Decision *struct {
		Run        string      `json:"run"`
		Transcript *Transcript `json:"transcript"`
	} `json:"decision"`
	End *struct {
		Lines int `json:"lines"` // of the run, above this one
	} `json:"end"`
}

// ReadRuns reads the runs of exports, each of which begins with its record.
func ReadRuns(from io.Reader) (all []Run, err error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for n, begun := 1, 0; lines.Scan(); n++ {
		if n > maxLines {
			return nil, &LineError{n, fmt.Errorf("%w: more than %d lines", errTooLarge, maxLines)}
		}
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, &LineError{n, fmt.Errorf("%w: %w", errMalformed, err)}
		}
		if l.Run != nil {
			all, begun = append(all, Run{ID: l.Run.ID, Cut: true}), n
			continue
		}
		if len(all) == 0 || !all[len(all)-1].add(&l) {
			return nil, &LineError{n, fmt.Errorf("%w: not of the run that begins above it", errMalformed)}
		}
		if l.End != nil {
			all[len(all)-1].Cut = l.End.Lines != n-begun
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	for i := range all {
		all[i].Decisions = inOrder(all[i].Decisions)
	}
	return all, nil
}

// inOrder puts decisions in the order of their records: each behind the one that left the
// record which it was made on, whatever the clocks of the instances said. Where that one is missing,
// the time says when it goes on.
func inOrder(all []*Transcript) []*Transcript {
	byTime := func(a, b *Transcript) int {
		return cmp.Or(cmp.Compare(a.Now, b.Now), cmp.Compare(a.Outcome.Record, b.Outcome.Record))
	}
	slices.SortStableFunc(all, byTime)
	all = slices.CompactFunc(all, func(a, b *Transcript) bool { return byTime(a, b) == 0 && bytes.Equal(a.Record, b.Record) })
	on := make(map[string][]*Transcript) // by the record that they were made on
	left := make(map[string]bool)
	for _, t := range all {
		on[digest(t.Record)] = append(on[digest(t.Record)], t)
		left[t.Outcome.Record] = true
	}
	ordered, placed := make([]*Transcript, 0, len(all)), make(map[*Transcript]bool)
	goOn := func(t *Transcript) {
		for t != nil {
			ordered, placed[t] = append(ordered, t), true
			next := on[t.Outcome.Record]
			t = nil
			if i := slices.IndexFunc(next, func(t *Transcript) bool { return !placed[t] }); i >= 0 {
				t = next[i]
			}
		}
	}
	for _, t := range all {
		if !left[digest(t.Record)] {
			goOn(t)
		}
	}
	for _, t := range all { // made on the same record as another one, or on what they left in a circle
		if !placed[t] {
			goOn(t)
		}
	}
	return ordered
}

func (r *Run) add(l *line) bool {
	switch {
	case l.Decision != nil:
		if l.Decision.Run != r.ID || l.Decision.Transcript == nil {
			return false
		}
		r.Decisions = append(r.Decisions, l.Decision.Transcript)
	case l.Event != nil && l.Event.Run != r.ID:
		return false
	case l.Event != nil && l.Event.Kind == "command" && l.Event.Source == "tamiyo":
		r.Commands = append(r.Commands, l.Event.Details["command_id"])
	}
	return true
}
