package weatherlight

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// consumerIdle is the silence after which a consumer that owns nothing is
// removed. A group of answers goes sooner, and later when it owns something.
const (
	consumerIdle = 24 * time.Hour
	answerIdle   = 10 * time.Minute
	ownerIdle    = 24 * time.Hour
	// inboxLife is how long the inbox of an instance outlives it.
	inboxLife = 24 * time.Hour
)

type choreFunc = func(context.Context) (map[string]float64, error)

// choreList is what there is to do: what is everybody's by the leader, what is
// a library's by one of those that work on it, and each its own.
func (s *Service) choreList() []chore {
	return []chore{
		{"oona_trim", s.asLeader(s.trimBus)},
		{"oona_dead_letters", s.asLeader(s.ageDeadLetters)},
		{"oona_consumers", s.asLeader(s.pruneConsumers)},
		{"oona_answer_groups", s.asLeader(s.pruneAnswerGroups)},
		{"oona_inbox", s.keepInbox},
		{"urza_maintenance", s.asKeeper(s.maintainLibrary)},
		{"capability_fanout", s.asKeeper(s.fanOutCapabilities)},
		{"memory", returnMemory},
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

func (s *Service) asLeader(do choreFunc) choreFunc {
	return func(ctx context.Context) (map[string]float64, error) {
		if !s.fleet.leads() {
			return nil, errElsewhere
		}
		return do(ctx)
	}
}

func (s *Service) asKeeper(do choreFunc) choreFunc {
	return func(ctx context.Context) (map[string]float64, error) {
		if !s.fleet.keeps(s.libraryID()) {
			return nil, errElsewhere
		}
		return do(ctx)
	}
}

func (s *Service) ageDeadLetters(ctx context.Context) (map[string]float64, error) {
	age := s.settings.Oona.DeadLetterTTL
	if age <= 0 {
		return nil, nil
	}
	removed, err := s.bus.PurgeDeadLettersBefore(ctx, time.Now().Add(-age))
	if err != nil {
		return nil, fmt.Errorf("age dead letters: %w", err)
	}
	return map[string]float64{"removed": float64(removed)}, nil
}

func (s *Service) pruneConsumers(ctx context.Context) (map[string]float64, error) {
	removed, err := s.bus.PruneConsumers(ctx, consumerIdle)
	if err != nil {
		return nil, fmt.Errorf("remove silent consumers: %w", err)
	}
	return map[string]float64{"removed": float64(removed)}, nil
}

// pruneAnswerGroups removes the groups of instances that are gone from the
// streams of answers: their requests went with them, and a group that nobody
// reads keeps the stream from being trimmed. The group without an instance is
// that of releases in which the instances shared one.
func (s *Service) pruneAnswerGroups(ctx context.Context) (map[string]float64, error) {
	streams := s.busConfig().Streams
	gone := func(group string) bool {
		instance, named := strings.CutPrefix(group, Group+".")
		return named && !s.fleet.isLive(instance) || group == Group
	}
	if err := s.fleet.confirm(ctx); err != nil {
		return nil, fmt.Errorf("remove groups of the departed: %w", err)
	}
	removed, err := s.bus.PruneGroups(ctx, Group, gone, answerIdle, ownerIdle, streams.KernelReady, streams.KernelErrors)
	if err != nil {
		return nil, fmt.Errorf("remove groups of the departed: %w", err)
	}
	return map[string]float64{"removed": float64(len(removed))}, nil
}

// keepInbox puts off the end of this instance's inbox.
func (s *Service) keepInbox(ctx context.Context) (map[string]float64, error) {
	return nil, s.bus.KeepStream(ctx, inbox(s.instance()), inboxLife)
}

func (s *Service) trimBus(ctx context.Context) (map[string]float64, error) {
	trimmed, err := s.bus.Trim(ctx)
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
