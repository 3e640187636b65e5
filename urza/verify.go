package urza

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/time/rate"
)

// examinations bounds how often a row and a file that keep changing are looked at
// again before the caller is told to come back later.
const examinations = 5

// Verify reads the artifact of one blueprint again and compares it with the row,
// whatever is remembered about it. A file that differs is quarantined.
// Errors: ErrNotFound, ErrArtifactMissing, ErrChecksumMismatch, ErrUntrusted,
// ErrUnavailable.
func (l *Library) Verify(ctx context.Context, blueprintID string) error {
	if _, _, err := l.settle(ctx, key{id: blueprintID}); err != nil {
		return fmt.Errorf("urza: verify %q: %w", blueprintID, err)
	}
	return nil
}

// verified returns the record of a kernel and the checksum that its file has
// now. While nothing changed this costs one stat; errors as for Verify, and
// ErrWithheld.
func (l *Library) verified(ctx context.Context, k key) (*entry, string, error) {
	e, err := l.entry(ctx, k)
	if err != nil {
		return nil, "", err
	}
	if err := l.withheldNow(ctx, e); err != nil {
		return nil, "", err
	}
	v := l.known(ctx, e)
	if v == nil {
		return l.settleServable(ctx, k)
	}
	if v.err != nil {
		return nil, "", v.err
	}
	return e, v.sum, nil
}

// settleServable is settle for a kernel that may have been set aside meanwhile.
func (l *Library) settleServable(ctx context.Context, k key) (*entry, string, error) {
	e, sum, err := l.settle(ctx, k)
	if err == nil {
		err = l.withheldNow(ctx, e)
	}
	return e, sum, err
}

// known is what is already known about the artifact as it is now. Most of the time
// that costs nothing; otherwise one question, and nothing is read.
func (l *Library) known(ctx context.Context, e *entry) *verdict {
	v := e.verdict.Load()
	if v == nil {
		return nil
	}
	if !l.due(e) {
		return v
	}
	now, err := l.stores.identify(ctx, e.record.ArtifactRef)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now != v.identity {
		e.verdict.CompareAndSwap(v, nil) // for those whose turn it is not
	}
	if err != nil || now != v.identity {
		return nil
	}
	if errors.Is(v.err, ErrUntrusted) && l.signatureIdentity(ctx, e) != v.signature {
		return nil
	}
	return v
}

// due says that it is this caller's turn to ask whether an artifact changed; the
// others go by what is known. A file is trusted for as long as its row is.
func (l *Library) due(e *entry) bool {
	trust := l.cfg.Revalidate
	if isObject(e.record.ArtifactRef) {
		trust = l.cfg.ObjectTrust
	}
	now, last := l.clock.now(), e.checked.Load()
	return now-last > int64(trust) && (e.checked.CompareAndSwap(last, now) || trust <= 0)
}

// signatureIdentity is zero when there is no signature.
func (l *Library) signatureIdentity(ctx context.Context, e *entry) identity {
	found, err := l.stores.identify(ctx, signatureRef(e.record.ArtifactRef))
	if err != nil {
		return identity{}
	}
	return found
}

type settled struct {
	entry *entry
	sum   string
}

// settle reads the row and the file of one kernel; callers that want the same
// at the same time share one reading.
func (l *Library) settle(ctx context.Context, k key) (*entry, string, error) {
	for {
		shared, err, _ := l.settling.Do(k.unique(), func() (any, error) { return l.examineUntilStable(ctx, k, nil) })
		if err == nil {
			found := shared.(settled) //nolint:forcetypeassert // the function above returns nothing else
			return found.entry, found.sum, nil
		}
		// Whoever did the reading for us may have given up; we have not.
		if !isContextError(err) || ctx.Err() != nil {
			return nil, "", err
		}
	}
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func (l *Library) examineUntilStable(ctx context.Context, k key, pace *rate.Limiter) (settled, error) {
	for range examinations {
		e, sum, err := l.examine(ctx, k, pace)
		if !errors.Is(err, errChanged) {
			return settled{e, sum}, err
		}
	}
	return settled{}, fmt.Errorf("%w: artifact of %q keeps changing", ErrUnavailable, k)
}

// examine judges the artifact by the row as it is in the database now: what memory
// holds may be older than a save by another process.
func (l *Library) examine(ctx context.Context, k key, pace *rate.Limiter) (*entry, string, error) {
	e, err := l.reload(ctx, k)
	if err != nil {
		return nil, "", err
	}
	found, err := l.readArtifact(ctx, e, pace)
	if err != nil {
		return nil, "", err
	}
	if e.record.Checksum != "" && e.record.Checksum != found.sum {
		if err := l.confirm(ctx, e, found, pace); err != nil {
			return nil, "", err
		}
		return nil, "", l.condemn(ctx, e, found)
	}
	if err := l.checkSignature(ctx, e, found); err != nil {
		return nil, "", err
	}
	return e, found.sum, l.acquit(ctx, e, found)
}

// readArtifact reads what the row of an entry refers to.
func (l *Library) readArtifact(ctx context.Context, e *entry, pace *rate.Limiter) (reading, error) {
	found, err := l.stores.read(ctx, e.record.ArtifactRef, pace)
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.row.quarantined:
		return reading{}, ErrChecksumMismatch
	case errors.Is(err, fs.ErrNotExist):
		return reading{}, ErrArtifactMissing
	case errors.Is(err, errChanged) || errors.Is(err, ErrUnavailable) || (err != nil && isContextError(err)):
		return reading{}, err
	case err != nil:
		return reading{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return found, nil
}

// checkSignature refuses an artifact that no trusted key signed. It stays where it
// is: nothing says that it is damaged, and a signature may follow.
func (l *Library) checkSignature(ctx context.Context, e *entry, found reading) error {
	if len(l.trust) == 0 {
		return nil
	}
	beside := l.signatureIdentity(ctx, e)
	signature, err := l.stores.signature(ctx, e.record.ArtifactRef)
	if err == nil && !l.trust.verify(found.message, signature) {
		err = ErrUntrusted
	}
	if errors.Is(err, ErrUntrusted) {
		l.counts.untrusted.Add(1)
		l.log.Warn("artifact without trusted signature", "blueprint_id", e.row.id, "variant", e.row.variant,
			"artifact", e.record.ArtifactRef)
		l.learn(e, &verdict{identity: found.identity, sum: found.sum, err: ErrUntrusted, signature: beside})
	}
	return err
}

// learn remembers a verdict, unless the file could change again and keep its times.
func (l *Library) learn(e *entry, v *verdict) {
	if v.identity.settled(time.Now()) {
		e.verdict.Store(v)
		e.checked.Store(l.clock.now())
	}
}

// acquit remembers that the file is what the row promises.
func (l *Library) acquit(ctx context.Context, e *entry, found reading) error {
	if e.row.quarantined {
		if err := l.catalogue.clearQuarantine(ctx, e.row); err != nil {
			return err
		}
	}
	l.learn(e, &verdict{identity: found.identity, sum: found.sum})
	return nil
}
