package transcript

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/s2"
)

// Bounds of what is read.
const (
	maxOpened = 8 << 20 // of what such a text may unfold to
	maxFold   = 1100    // and by how much: deflate can do 1,032 to 1, and S2 as much as anybody likes
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

// UnmarshalText reads what a Writer wrote.
func (t *Transcript) UnmarshalText(text []byte) error {
	if len(text) > maxLine {
		return fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, len(text), maxLine)
	}
	plain, err := opened(text)
	if err != nil {
		return err
	}
	read, err := parse(plain)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if read.Format != format {
		return fmt.Errorf("%w: format %d, want %d", errMalformed, read.Format, format)
	}
	*t = read
	if _, err := t.state(); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if _, err := t.known(); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// opened is what a text holds.
func opened(text []byte) ([]byte, error) {
	packed, err := base64.RawStdEncoding.DecodeString(string(text))
	if err != nil || len(packed) == 0 {
		return nil, errors.Join(errMalformed, err)
	}
	most := mostOf(packed)
	switch how, packed := packed[0], packed[1:]; how {
	case packedFast:
		size, err := s2.DecodedLen(packed)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
		if size > most {
			return nil, fmt.Errorf("%w: it unfolds to more than %d bytes", errTooLarge, most)
		}
		plain, err := s2.Decode(nil, packed)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
		return plain, nil
	case packedSmall:
		plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), int64(most)+1))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
		if len(plain) > most {
			return nil, fmt.Errorf("%w: it unfolds to more than %d bytes", errTooLarge, most)
		}
		return plain, nil
	default:
		return nil, fmt.Errorf("%w: packed in a way of another release", errMalformed)
	}
}

// mostOf is what something packed may unfold to, so that the memory that an export takes is bounded
// by its size.
func mostOf(packed []byte) int { return min(maxOpened, maxFold*len(packed)) }

// parse reads what appendTo wrote.
func parse(plain []byte) (Transcript, error) {
	head, rest, err := section(plain)
	if err != nil {
		return Transcript{}, err
	}
	var read fields
	if err := json.Unmarshal(head, &read); err != nil {
		return Transcript{}, err
	}
	read.Record, read.Packet, err = section(rest)
	return Transcript(read), err
}

// fields are those of a transcript, without a text of their own.
type fields Transcript

func section(plain []byte) (first, rest []byte, err error) {
	size, n := binary.Uvarint(plain)
	if n <= 0 || size > uint64(len(plain)-n) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	end := n + int(size)
	return plain[n:end:end], plain[end:], nil
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
