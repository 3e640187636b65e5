package oona

import (
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/envelope"
)

// scriptCall is what the commit script is told: see commit.lua.
type scriptCall struct {
	keys, args []string
	streams    map[string]string // of answers -> their place among the keys
	marks      []string          // the last of the keys
	run        outcome           // the first of the run that is being told
	length     int               // of that run; 0 before the first
	lengthAt   int               // its place among the arguments
}

// markPlace is the argument that says where the marks begin.
const markPlace = 6

func (s *consumer) scriptInput(batch []outcome, now time.Time) (keys, args []string) {
	cfg := s.c.cfg
	in := scriptCall{
		keys:    make([]string, 0, len(batch)+4),
		args:    make([]string, 0, 14+4*len(batch)),
		streams: make(map[string]string),
	}
	in.keys = append(in.keys, s.sub.Stream, cfg.DeadLetter)
	bound := s.c.bound
	in.args = append(in.args, s.sub.Group, cfg.Consumer, bound, bound, strconv.FormatInt(now.UnixMilli(), 10), strconv.Itoa(cfg.MaxPayload), "")
	for _, o := range batch {
		in.add(o)
	}
	in.args[markPlace] = strconv.Itoa(len(in.keys) + 1)
	return append(in.keys, in.marks...), in.args
}

func (in *scriptCall) add(o outcome) {
	if in.length == 0 || !alike(in.run, o) {
		in.begin(o)
	}
	in.length++
	in.args[in.lengthAt] = strconv.Itoa(in.length)
	in.args = append(in.args, o.id)
	if o.refusal != nil {
		in.args = append(in.args, o.refusal.Reason, o.refusal.Err, strconv.Itoa(o.refusal.Attempts))
		return
	}
	if o.mark != "" {
		in.marks = append(in.marks, o.mark)
	}
	for _, answer := range o.answers {
		in.args = append(in.args, answer.Payload, answer.Signature)
	}
}

// alike reports whether two outcomes can be of one run.
func alike(a, b outcome) bool {
	if a.refusal != nil || b.refusal != nil {
		return a.refusal != nil && b.refusal != nil
	}
	return a.attempt == b.attempt && (a.mark == "") == (b.mark == "") && a.life == b.life &&
		slices.EqualFunc(a.answers, b.answers, func(a, b envelope.Draft) bool { return a.Stream == b.Stream })
}

// begin tells what the outcomes of a run have in common.
func (in *scriptCall) begin(o outcome) {
	in.run, in.length, in.lengthAt = o, 0, len(in.args)+1
	if o.refusal != nil {
		in.args = append(in.args, "refused", "")
		return
	}
	life := ""
	if o.mark != "" {
		life = strconv.FormatInt(o.life.Milliseconds(), 10)
	}
	in.args = append(in.args, "done", "", life, strconv.Itoa(o.attempt), strconv.Itoa(len(o.answers)))
	for _, answer := range o.answers {
		in.args = append(in.args, in.place(answer.Stream))
	}
}

// place is that of a stream among the keys.
func (in *scriptCall) place(stream string) string {
	place, known := in.streams[stream]
	if !known {
		in.keys = append(in.keys, stream)
		place = strconv.Itoa(len(in.keys))
		in.streams[stream] = place
	}
	return place
}
