package maintenance

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/urza"
)

// consumerIdle is the silence after which a consumer that owns nothing is
// removed. A group of answers goes sooner, and later when it owns something.
const (
	consumerIdle = 24 * time.Hour
	answerIdle   = 10 * time.Minute
	ownerIdle    = 24 * time.Hour
)

// Who does a job: what is everybody's the leader, what is a library's one of
// those that work on it, and each its own.
const (
	byLeader = "the instance that leads"
	byKeeper = "one instance of each kernel library"
	byEach   = "each instance"
)

// JobsConfig is what the jobs of a service work on.
type JobsConfig struct {
	// DeadLetters are aged by the leader; *deadletter.Queue is one.
	DeadLetters interface {
		PurgeBefore(ctx context.Context, before time.Time) (removed int64, err error)
	}
	// Bus is tidied up by the leader; *admin.Admin is one.
	Bus interface {
		Trim(ctx context.Context, age time.Duration) (removed map[string]int64, err error)
		PruneConsumers(ctx context.Context, idle time.Duration) (removed int64, err error)
		PruneGroups(
			ctx context.Context, prefix string, gone func(group string) bool, empty, owning time.Duration, streams ...string,
		) (removed []string, err error)
	}
	// Library is looked after by one instance; *urza.Library is one.
	Library interface {
		Maintain(ctx context.Context) (urza.Maintenance, error)
	}
	// Fleet knows whose turn it is.
	Fleet interface {
		Leads() bool
		KeepsLibrary() bool
		Confirm(ctx context.Context) error
	}
	// FanOut writes the capabilities of seeds.
	FanOut Func

	MessageTTL    time.Duration // 0: messages stay
	DeadLetterTTL time.Duration // 0: dead letters stay
	Group         string        // of the consumers of all instances
	ReplyStreams  []string      // of kernel requests
}

// Jobs are what there is to do.
func Jobs(c JobsConfig) []Job {
	return []Job{
		{Name: "oona_trim", Who: byLeader,
			What: "Removes from the streams what is older than `OONA_MESSAGE_TTL_MS` and was finished by every " +
				"group. Items: entries removed, by stream.",
			Do: c.asLeader(c.trim)},
		{Name: "oona_dead_letters", Who: byLeader,
			What: "Removes dead letters older than `OONA_DEAD_LETTER_TTL_HOURS`. Items: `removed`.",
			Do:   c.asLeader(c.ageDeadLetters)},
		{Name: "oona_consumers", Who: byLeader,
			What: "Removes consumers that were silent for 24 h and own nothing. Items: `removed`.",
			Do:   c.asLeader(c.pruneConsumers)},
		{Name: "oona_answer_groups", Who: byLeader,
			What: "Removes the groups of single instances, which earlier releases had on the streams of " +
				"answers, after 10 min of silence, or 24 h when they own something. Items: `removed`.",
			Do: c.asLeader(c.pruneAnswerGroups)},
		{Name: "urza_maintenance", Who: byKeeper,
			What: "Drops expired rows from memory, looks for rows that cannot be read and for kernels " +
				"without a file, and removes what crashed saves left behind. Items: `rows`, `expired`, `skipped`, `swept`, " +
				"`missing`, `quarantined`.",
			Do: c.asKeeper(c.maintainLibrary)},
		{Name: "capability_fanout", Who: byKeeper,
			What: "Writes into the library which seeds may set the parameters of each blueprint. " +
				"Items: `blending` blueprints, `changed` rows.",
			Do: c.asKeeper(c.FanOut)},
		{Name: "memory", Who: byEach,
			What: "Gives memory that is no longer used back to the system. Items: `heap_bytes`.",
			Do:   returnMemory},
	}
}

// returnMemory gives the system back what the last burst of work left behind;
// the runtime by itself would hold on to it for minutes.
func returnMemory(context.Context) (map[string]float64, error) {
	debug.FreeOSMemory()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return map[string]float64{"heap_bytes": float64(memory.HeapAlloc)}, nil
}

func (c JobsConfig) asLeader(do Func) Func {
	return func(ctx context.Context) (map[string]float64, error) {
		if !c.Fleet.Leads() {
			return nil, errElsewhere
		}
		return do(ctx)
	}
}

func (c JobsConfig) asKeeper(do Func) Func {
	return func(ctx context.Context) (map[string]float64, error) {
		if !c.Fleet.KeepsLibrary() {
			return nil, errElsewhere
		}
		return do(ctx)
	}
}

func (c JobsConfig) ageDeadLetters(ctx context.Context) (map[string]float64, error) {
	age := c.DeadLetterTTL
	if age <= 0 {
		return nil, nil
	}
	removed, err := c.DeadLetters.PurgeBefore(ctx, time.Now().Add(-age))
	if err != nil {
		return nil, fmt.Errorf("age dead letters: %w", err)
	}
	return map[string]float64{"removed": float64(removed)}, nil
}

func (c JobsConfig) pruneConsumers(ctx context.Context) (map[string]float64, error) {
	removed, err := c.Bus.PruneConsumers(ctx, consumerIdle)
	if err != nil {
		return nil, fmt.Errorf("remove silent consumers: %w", err)
	}
	return map[string]float64{"removed": float64(removed)}, nil
}

// pruneAnswerGroups removes the groups of single instances, which earlier
// releases had: a group that nobody reads keeps the stream from being trimmed.
func (c JobsConfig) pruneAnswerGroups(ctx context.Context) (map[string]float64, error) {
	gone := func(group string) bool { return strings.HasPrefix(group, c.Group+".") }
	if err := c.Fleet.Confirm(ctx); err != nil {
		return nil, fmt.Errorf("remove groups of the departed: %w", err)
	}
	removed, err := c.Bus.PruneGroups(ctx, c.Group+".", gone, answerIdle, ownerIdle, c.ReplyStreams...)
	if err != nil {
		return nil, fmt.Errorf("remove groups of the departed: %w", err)
	}
	return map[string]float64{"removed": float64(len(removed))}, nil
}

func (c JobsConfig) trim(ctx context.Context) (map[string]float64, error) {
	if c.MessageTTL <= 0 {
		return nil, nil
	}
	trimmed, err := c.Bus.Trim(ctx, c.MessageTTL)
	result := make(map[string]float64, len(trimmed))
	for stream, count := range trimmed {
		result[stream] = float64(count)
	}
	if err != nil {
		return result, fmt.Errorf("trim streams: %w", err)
	}
	return result, nil
}

func (c JobsConfig) maintainLibrary(ctx context.Context) (map[string]float64, error) {
	done, err := c.Library.Maintain(ctx)
	if err != nil {
		return nil, fmt.Errorf("maintain kernel library: %w", err)
	}
	return map[string]float64{
		"rows":        float64(done.Rows),
		"expired":     float64(done.Expired),
		"skipped":     float64(len(done.Skipped)),
		"swept":       float64(done.Swept),
		"missing":     float64(len(done.Missing)),
		"quarantined": float64(len(done.Quarantined)),
	}, nil
}
