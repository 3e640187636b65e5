package weatherlight

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
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

// jobs are what there is to do.
func (s *Service) jobs() []maintenance.Job {
	return []maintenance.Job{
		{Name: "oona_trim", Who: byLeader,
			What: "Removes from the streams what is older than `OONA_MESSAGE_TTL_MS` and was finished by every " +
				"group. Items: entries removed, by stream.",
			Do: s.asLeader(s.trimBus)},
		{Name: "oona_dead_letters", Who: byLeader,
			What: "Removes dead letters older than `OONA_DEAD_LETTER_TTL_HOURS`. Items: `removed`.",
			Do:   s.asLeader(s.ageDeadLetters)},
		{Name: "oona_consumers", Who: byLeader,
			What: "Removes consumers that were silent for 24 h and own nothing. Items: `removed`.",
			Do:   s.asLeader(s.pruneConsumers)},
		{Name: "oona_answer_groups", Who: byLeader,
			What: "Removes the groups of single instances, which earlier releases had on the streams of " +
				"answers, after 10 min of silence, or 24 h when they own something. Items: `removed`.",
			Do: s.asLeader(s.pruneAnswerGroups)},
		{Name: "urza_maintenance", Who: byKeeper,
			What: "Drops expired rows from memory, looks for rows that cannot be read and for kernels " +
				"without a file, and removes what crashed saves left behind. Items: `rows`, `expired`, `skipped`, `swept`, " +
				"`missing`, `quarantined`.",
			Do: s.asKeeper(s.maintainLibrary)},
		{Name: "capability_fanout", Who: byKeeper,
			What: "Writes into the library which seeds may set the parameters of each blueprint. " +
				"Items: `blending` blueprints, `changed` rows.",
			Do: s.asKeeper(s.fanOutCapabilities)},
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

func (s *Service) asLeader(do maintenance.Func) maintenance.Func {
	return func(ctx context.Context) (map[string]float64, error) {
		if !s.fleet.leads() {
			return nil, maintenance.ErrElsewhere
		}
		return do(ctx)
	}
}

func (s *Service) asKeeper(do maintenance.Func) maintenance.Func {
	return func(ctx context.Context) (map[string]float64, error) {
		if !s.fleet.keeps(s.libraryID()) {
			return nil, maintenance.ErrElsewhere
		}
		return do(ctx)
	}
}

func (s *Service) ageDeadLetters(ctx context.Context) (map[string]float64, error) {
	age := s.settings.Oona.DeadLetterTTL
	if age <= 0 {
		return nil, nil
	}
	removed, err := s.bus.DeadLetters().PurgeBefore(ctx, time.Now().Add(-age))
	if err != nil {
		return nil, fmt.Errorf("age dead letters: %w", err)
	}
	return map[string]float64{"removed": float64(removed)}, nil
}

func (s *Service) pruneConsumers(ctx context.Context) (map[string]float64, error) {
	removed, err := s.bus.Admin().PruneConsumers(ctx, consumerIdle)
	if err != nil {
		return nil, fmt.Errorf("remove silent consumers: %w", err)
	}
	return map[string]float64{"removed": float64(removed)}, nil
}

// pruneAnswerGroups removes the groups of single instances, which earlier
// releases had: a group that nobody reads keeps the stream from being trimmed.
func (s *Service) pruneAnswerGroups(ctx context.Context) (map[string]float64, error) {
	streams := s.busConfig().Streams
	gone := func(group string) bool { return strings.HasPrefix(group, Group+".") }
	if err := s.fleet.confirm(ctx); err != nil {
		return nil, fmt.Errorf("remove groups of the departed: %w", err)
	}
	removed, err := s.bus.Admin().PruneGroups(ctx, Group+".", gone, answerIdle, ownerIdle, streams.KernelReady, streams.KernelErrors)
	if err != nil {
		return nil, fmt.Errorf("remove groups of the departed: %w", err)
	}
	return map[string]float64{"removed": float64(len(removed))}, nil
}

func (s *Service) trimBus(ctx context.Context) (map[string]float64, error) {
	age := s.settings.Oona.MessageTTL
	if age <= 0 {
		return nil, nil
	}
	trimmed, err := s.bus.Admin().Trim(ctx, age)
	result := make(map[string]float64, len(trimmed))
	for stream, count := range trimmed {
		result[stream] = float64(count)
	}
	if err != nil {
		return result, fmt.Errorf("trim streams: %w", err)
	}
	return result, nil
}

func (s *Service) maintainLibrary(ctx context.Context) (map[string]float64, error) {
	done, err := s.library.Maintain(ctx)
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
