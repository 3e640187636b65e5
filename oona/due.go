package oona

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

//go:embed due.lua
var dueSource string

//go:embed schedule.lua
var scheduleSource string

//go:embed claim.lua
var claimSource string

//go:embed reschedule.lua
var rescheduleSource string

//go:embed await.lua
var awaitSource string

var (
	scheduleScript   = rueidis.NewLuaScript(dueSource + scheduleSource)
	claimScript      = rueidis.NewLuaScript(claimSource)
	rescheduleScript = rueidis.NewLuaScript(rescheduleSource)
	awaitScript      = rueidis.NewLuaScript(awaitSource)
)

// The due index of a part is one sorted set: runs by the time they are due, in
// Unix milliseconds. A claim is told from a time that somebody asked for by its
// fraction of a millisecond, a random number of claimSteps: see due.lua.
const (
	claimStep  = time.Millisecond / claimSteps
	claimSteps = 64
	// scanPage is how many runs a page of the index is looked for in at a time, so
	// that Redis is never held up for long.
	scanPage = "1000"
)

// DueRun is a claim on a run: until At nobody else is given it, and then anybody is.
type DueRun struct {
	Run string
	At  time.Time
}

func dueIndex(part string) string { return "weatherlight:" + part + ":due" }

// dueText is a time in the index, not before the one that was asked for.
func dueText(at time.Time) string {
	ms := at.UnixMilli()
	if time.UnixMilli(ms).Before(at) {
		ms++
	}
	return strconv.FormatInt(ms, 10)
}

// newClaim is a claim that holds until about the given time.
func newClaim(until time.Time) time.Time {
	return time.UnixMilli(until.UnixMilli()).Add(time.Duration(1+rand.IntN(claimSteps-1)) * claimStep)
}

func claimText(claim time.Time) string {
	return fmt.Sprintf("%d.%06d", claim.UnixMilli(), claim.Nanosecond()%int(time.Millisecond))
}

// Schedule makes a run of a part due at a time, or leaves it due earlier. It is for
// whoever is about to write a record without holding a claim on its run: before
// the record, since a run that is due for nothing harms nothing. A zero time is
// none.
func (r *Records) Schedule(ctx context.Context, part, run string, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	if _, err := r.run(ctx, scheduleScript, []string{dueIndex(part)}, []string{run, dueText(at)}); err != nil {
		return fmt.Errorf("schedule run %q of %s: %w", run, part, err)
	}
	return nil
}

// Due claims up to limit runs that are due, the longest overdue first. Each is
// given to one caller, and becomes due again at the end of hold, a process that
// dies with it included. A run that is scheduled while it is claimed is due at the
// end of the claim at the latest, whatever its holder makes of the claim.
func (r *Records) Due(ctx context.Context, part string, now time.Time, limit int, hold time.Duration) ([]DueRun, error) {
	if limit < 1 {
		return nil, nil
	}
	claim := newClaim(now.Add(max(hold, time.Millisecond)))
	args := []string{strconv.FormatInt(now.UnixMilli(), 10), strconv.Itoa(limit), claimText(claim)}
	runs, err := redis.Insist(ctx, r.c.conn, func(ctx context.Context) ([]string, error) {
		return claimScript.Exec(ctx, r.c.conn, []string{dueIndex(part)}, args).AsStrSlice()
	})
	if err != nil {
		return nil, fmt.Errorf("claim due runs of %s: %w", part, err)
	}
	due := make([]DueRun, len(runs))
	for i, run := range runs {
		due[i] = DueRun{Run: run, At: claim}
	}
	return due, nil
}

// Reschedule ends a claim, after the record was written: the run is due at a time,
// or, when that is zero, no longer. It does nothing when the claim no longer
// stands: it has run out and is another's, or the run was scheduled meanwhile and
// its holder does not know the latest of it.
func (r *Records) Reschedule(ctx context.Context, part string, claimed DueRun, at time.Time) error {
	text := ""
	if !at.IsZero() {
		text = dueText(at)
	}
	args := []string{claimed.Run, claimText(claimed.At), text}
	if _, err := r.run(ctx, rescheduleScript, []string{dueIndex(part)}, args); err != nil {
		return fmt.Errorf("reschedule run %q of %s: %w", claimed.Run, part, err)
	}
	return nil
}

// Runs lists up to limit runs of a part that are due at some time, sorted by name,
// from the first one after the given. Each page looks at the whole index, in small
// steps: it is meant for people who look.
func (r *Records) Runs(ctx context.Context, part, after string, limit int) ([]string, error) {
	var page []string
	for cursor := "0"; ; {
		next, runs, err := r.scan(ctx, part, cursor)
		if err != nil {
			return nil, fmt.Errorf("list runs of %s: %w", part, err)
		}
		for _, run := range runs {
			if run > after {
				page = append(page, run)
			}
		}
		slices.Sort(page)
		page = slices.Compact(page) // a set that changes meanwhile may tell one twice
		page = page[:min(len(page), max(limit, 0))]
		if next == "0" {
			return page, nil
		}
		cursor = next
	}
}

// scan takes one step through the index of a part.
func (r *Records) scan(ctx context.Context, part, cursor string) (next string, runs []string, err error) {
	reply, err := redis.Insist(ctx, r.c.conn, func(ctx context.Context) ([]rueidis.RedisMessage, error) {
		return r.c.conn.Do(ctx, r.c.conn.B().Arbitrary("ZSCAN").Keys(dueIndex(part)).Args(cursor, "COUNT", scanPage).Build()).ToArray()
	})
	if err != nil {
		return "", nil, err
	}
	if len(reply) != 2 {
		return "", nil, entry.ErrStrangeReply
	}
	if next, err = reply[0].ToString(); err != nil {
		return "", nil, err
	}
	pairs, err := reply[1].AsStrSlice()
	if err != nil {
		return "", nil, err
	}
	for i := 0; i < len(pairs); i += 2 {
		runs = append(runs, pairs[i])
	}
	return next, runs, nil
}

// awaitSign is the key that stands while a part waits for answers.
func awaitSign(part string) string { return "weatherlight:" + part + ":awaits" }

// Await says to everybody on the bus that a part waits for answers, for a while. It
// is said before the question is asked.
func (r *Records) Await(ctx context.Context, part string, patience time.Duration) error {
	ms := strconv.FormatInt(max(patience.Milliseconds(), 1), 10)
	if _, err := r.run(ctx, awaitScript, []string{awaitSign(part)}, []string{ms}); err != nil {
		return fmt.Errorf("await answers to %s: %w", part, err)
	}
	return nil
}

// Awaited says whether a part waits for answers, in whatever process.
func (r *Records) Awaited(ctx context.Context, part string) (bool, error) {
	awaited, err := redis.Insist(ctx, r.c.conn, func(ctx context.Context) (int64, error) {
		return r.c.conn.Do(ctx, r.c.conn.B().Exists().Key(awaitSign(part)).Build()).AsInt64()
	})
	if err != nil {
		return false, fmt.Errorf("look whether %s awaits answers: %w", part, err)
	}
	return awaited > 0, nil
}
