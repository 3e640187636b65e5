package forge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrParked says that a blueprint is left alone for a while after it failed.
var ErrParked = errors.New("parked")

const (
	// suspectCrashes is how many compilations in a row may begin and never come
	// to an end before their blueprint is blamed for the end of the process.
	suspectCrashes = 3

	longestPark = 24 * time.Hour
)

// plan sorts the catalogue into refused, present, parked and to be compiled;
// blueprints that failed before come last, so that they cannot keep others
// waiting.
func (f *Forge) plan(ctx context.Context) ([]job, error) {
	blueprints := f.config.Blueprints()
	var jobs []job
	for i, d := range blueprints {
		j := job{descriptor: d, index: i + 1, total: len(blueprints)}
		if err := f.config.Compiler.Compilable(d); err != nil {
			f.finish(j, StateRefused, err)
			continue
		}
		j.digest = f.config.Compiler.BuildDigest(d)
		present, err := f.present(ctx, d.GetBlueprintId(), j.digest)
		if err != nil {
			return nil, fmt.Errorf("tezzeret: look for %s in the library: %w", d.GetBlueprintId(), err)
		}
		if present {
			f.finish(j, StatePresent, nil)
			continue
		}
		if err := f.parked(&j); err != nil {
			f.finish(j, StateParked, err)
			continue
		}
		jobs = append(jobs, j)
	}
	slices.SortStableFunc(jobs, func(a, b job) int { return cmp.Compare(a.trouble, b.trouble) })
	f.record.queued(len(jobs))
	// What turned out to be stored is announced before anything is compiled.
	return jobs, f.announcePending(ctx)
}

// present says whether the library holds the kernel of a blueprint as it would
// be built now. A kernel that no forge of ours has built is not replaced.
func (f *Forge) present(ctx context.Context, id, digest string) (bool, error) {
	known := *f.journal.of(id)
	if f.config.Stored == nil {
		has, err := f.config.Library.Has(ctx, id)
		// Whether an interrupted save came to its end, nobody can tell: it is
		// done again.
		return has && known.saving == "" && (known.built == "" || known.built == digest), err
	}
	stored, ok, err := f.config.Stored(ctx, id)
	if err != nil || !ok {
		return false, err
	}
	if known.saving != "" && known.saving == stored.Update.GetChecksum() {
		if err := f.journal.appendStored(stored.Update, known.savingDigest); err != nil {
			return false, err
		}
	}
	return stored.BuildDigest == "" || stored.BuildDigest == digest, nil
}

// parked returns an error that wraps ErrParked, with the reason, while the
// blueprint is to be left alone, and notes what trouble it made otherwise. A
// request that changed is a new one.
func (f *Forge) parked(j *job) error {
	id := j.descriptor.GetBlueprintId()
	s := f.journal.of(id)
	if s.tried != j.digest {
		return nil
	}
	j.trouble, j.suspect = s.failures+s.crashes, s.crashes > 0
	until, reason := s.until, s.reason
	if s.crashes >= suspectCrashes {
		until = s.since.Add(f.parkFor(s.crashes - suspectCrashes + 1))
		reason = fmt.Sprintf("the process ended %d times while it was compiled", s.crashes)
	}
	// None is parked for longer than that: the clock was wrong when it was.
	if left := time.Until(until); left <= 0 || left > longestPark {
		return nil
	}
	return fmt.Errorf("tezzeret: blueprint %s %w until %s: %s", id, ErrParked, until.UTC().Format(time.RFC3339), reason)
}

// parkFor doubles with each failure in a row.
func (f *Forge) parkFor(failures int) time.Duration {
	return min(min(f.config.ParkFor, longestPark)<<min(max(failures-1, 0), 10), longestPark)
}

// announcePending announces, oldest first, what is stored and not announced. Where
// nobody takes an announcement over, that is no error: the updates wait. The error is the journal's.
func (f *Forge) announcePending(ctx context.Context) error {
	for {
		update, ok := f.journal.pending()
		if !ok {
			return nil
		}
		if err := f.config.Announce(ctx, update); err != nil {
			f.config.Logger.Warn("stored kernel not announced yet",
				"blueprint_id", update.GetBlueprintId(), "error", err)
			return nil
		}
		announced := entry{Op: opAnnounced, Blueprint: update.GetBlueprintId(), Checksum: update.GetChecksum()}
		if err := f.journal.append(announced); err != nil {
			return err
		}
	}
}
