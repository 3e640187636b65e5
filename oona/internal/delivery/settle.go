package delivery

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
)

//go:embed commit.lua
var commitSource string

// The script is immutable; EVALSHA falls back to EVAL after a restart of Redis.
var commitScript = rueidis.NewLuaScript(commitSource)

// Results of the commit script for one outcome.
const (
	commitLost     = 0  // done before, by somebody else or in a group that was lost: nothing was done
	commitDone     = 1  //
	commitReplay   = 2  // its request id was answered meanwhile
	commitUnstored = -1 // an answer or dead letter could not be stored: pending again
)

// store settles outcomes on the server.
type store struct {
	c             *Deliverer
	stream, group string
}

// settled is what came of a commit: for each outcome one of the results above.
type settled struct {
	results  []int64
	unstored error // why some could not be stored
}

// settle reports outcomes.
func (s *store) settle(ctx context.Context, batch []outcome) (settled, error) {
	if s.c.Conn.Clustered {
		return s.runSteps(ctx, batch)
	}
	return s.runScript(ctx, batch)
}

// acknowledge settles outcomes that publish nothing, in one command.
func (s *store) acknowledge(ctx context.Context, batch []outcome) (settled, error) {
	ids := make([]string, len(batch))
	for i, o := range batch {
		ids[i] = o.id
	}
	command := s.c.Conn.B().Xack().Key(s.stream).Group(s.group).Id(ids...).Build()
	if err := s.c.Conn.Do(ctx, command).Error(); err != nil {
		return settled{}, fmt.Errorf("acknowledge on %s: %w", s.stream, err)
	}
	return settled{results: slices.Repeat([]int64{commitDone}, len(batch))}, nil
}

// runScript settles outcomes atomically: see commit.lua.
func (s *store) runScript(ctx context.Context, batch []outcome) (settled, error) {
	keys, args := s.scriptInput(batch, time.Now())
	replies, err := commitScript.Exec(ctx, s.c.Conn, keys, args).ToArray()
	if err != nil {
		return settled{}, fmt.Errorf("commit on %s: %w", s.stream, err)
	}
	came, err := readSettled(replies, len(batch))
	if err != nil {
		return settled{}, fmt.Errorf("commit on %s: %w", s.stream, err)
	}
	return came, nil
}

// readSettled reads what the commit script says of a number of outcomes.
func readSettled(exceptions []rueidis.RedisMessage, outcomes int) (settled, error) {
	came := settled{results: slices.Repeat([]int64{commitDone}, outcomes)}
	for ; len(exceptions) > 1; exceptions = exceptions[2:] {
		place, err := exceptions[0].AsInt64()
		if err != nil || place < 0 || place >= int64(outcomes) {
			return settled{}, errors.Join(fmt.Errorf("a result for outcome %d of %d", place, outcomes), err)
		}
		if came.results[place], err = exceptions[1].AsInt64(); err != nil {
			return settled{}, fmt.Errorf("the result for outcome %d: %w", place, err)
		}
	}
	for i := range exceptions {
		cause, _ := exceptions[i].ToString()
		came.unstored = errors.New(cause)
	}
	return came, nil
}

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

func (s *store) scriptInput(batch []outcome, now time.Time) (keys, args []string) {
	in := scriptCall{
		keys:    make([]string, 0, len(batch)+4),
		args:    make([]string, 0, 14+4*len(batch)),
		streams: make(map[string]string),
	}
	in.keys = append(in.keys, s.stream, s.c.DeadLetter)
	bound, limit := s.c.MaxLength, strconv.Itoa(s.c.Sealer.MaxPayload)
	in.args = append(in.args, s.group, s.c.Consumer, bound, bound, strconv.FormatInt(now.UnixMilli(), 10), limit, "")
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
	return a.attempt == b.attempt && (a.mark == "") == (b.mark == "") &&
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
		life = strconv.FormatInt(verify.MarkLife.Milliseconds(), 10)
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
