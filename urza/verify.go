package urza

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// examinations bounds how often a row and a file that keep changing are looked at
// again before the caller is told to come back later.
const examinations = 5

// verdict is what reading a file found out about the content it had under one identity.
type verdict struct {
	identity  artifact.Identity
	sum       string
	err       error             // nil, ErrChecksumMismatch or ErrUntrusted
	signature artifact.Identity // of the signature that was not good enough; zero when there was none
}

// verifier compares artifacts with what their rows promise.
type verifier struct {
	lookup      *lookup
	catalogue   *catalogue.Catalogue
	store       *artifact.Store
	log         *slog.Logger
	revalidate  time.Duration // how long a file counts as unchanged
	objectTrust time.Duration // how long an object does
	settling    singleflight.Group
	damaged     atomic.Int64 // files
	untrusted   atomic.Int64 // likewise
}

// verified returns the record of a kernel and the checksum that its file has
// now. While nothing changed this costs one stat; errors as for Verify, and
// ErrWithheld.
func (v *verifier) verified(ctx context.Context, k catalogue.Key) (*entry, string, error) {
	e, err := v.lookup.entry(ctx, k)
	if err != nil {
		return nil, "", err
	}
	if err := v.lookup.withheld(ctx, e); err != nil {
		return nil, "", err
	}
	known := v.known(ctx, e)
	if known == nil {
		return v.settleServable(ctx, k)
	}
	if known.err != nil {
		return nil, "", known.err
	}
	return e, known.sum, nil
}

// settleServable is settle for a kernel that may have been set aside meanwhile.
func (v *verifier) settleServable(ctx context.Context, k catalogue.Key) (*entry, string, error) {
	e, sum, err := v.settle(ctx, k)
	if err == nil {
		err = v.lookup.withheld(ctx, e)
	}
	return e, sum, err
}

// known is what is already known about the artifact as it is now. Most of the time
// that costs nothing; otherwise one question, and nothing is read.
func (v *verifier) known(ctx context.Context, e *entry) *verdict {
	known := e.verdict.Load()
	if known == nil {
		return nil
	}
	if !v.due(e) {
		return known
	}
	now, err := v.store.Identify(ctx, e.record.ArtifactRef)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now != known.identity {
		e.verdict.CompareAndSwap(known, nil) // for those whose turn it is not
	}
	if err != nil || now != known.identity {
		return nil
	}
	if errors.Is(known.err, ErrUntrusted) && v.store.SignatureIdentity(ctx, e.record.ArtifactRef) != known.signature {
		return nil
	}
	return known
}

// due says that it is this caller's turn to ask whether an artifact changed; the
// others go by what is known. A file is trusted for as long as its row is.
func (v *verifier) due(e *entry) bool {
	trust := v.revalidate
	if artifact.InObjectStore(e.record.ArtifactRef) {
		trust = v.objectTrust
	}
	now, last := v.lookup.clock.now(), e.checked.Load()
	return now-last > int64(trust) && (e.checked.CompareAndSwap(last, now) || trust <= 0)
}

// present looks at the file without reading it, unless it was found damaged before
// and something stands in its place now.
func (v *verifier) present(ctx context.Context, e *entry) error {
	if _, err := v.store.Identify(ctx, e.record.ArtifactRef); errors.Is(err, fs.ErrNotExist) {
		return ErrArtifactMissing
	} else if err != nil {
		return err
	}
	if sum := artifact.Promised(e.record.ArtifactRef); sum != "" && e.record.Checksum != "" && sum != e.record.Checksum {
		return ErrChecksumMismatch // whichever of the two is wrong
	}
	if known := v.known(ctx, e); known != nil && known.err != nil {
		return known.err
	}
	if v.store.WantsSignatures() && v.store.SignatureIdentity(ctx, e.record.ArtifactRef) == (artifact.Identity{}) {
		return ErrUntrusted
	}
	if e.row.Quarantined {
		_, _, err := v.settle(ctx, e.row.Key())
		return err
	}
	return nil
}

type settled struct {
	entry *entry
	sum   string
}

// settle reads the row and the file of one kernel; callers that want the same
// at the same time share one reading.
func (v *verifier) settle(ctx context.Context, k catalogue.Key) (*entry, string, error) {
	for {
		shared, err, _ := v.settling.Do(k.Unique(), func() (any, error) { return v.examineUntilStable(ctx, k, nil) })
		if err == nil {
			found := shared.(settled) //nolint:forcetypeassert // the function above returns nothing else
			return found.entry, found.sum, nil
		}
		// Whoever did the reading for us may have given up; we have not.
		if !fault.OfContext(err) || ctx.Err() != nil {
			return nil, "", err
		}
	}
}

func (v *verifier) examineUntilStable(ctx context.Context, k catalogue.Key, pace *rate.Limiter) (settled, error) {
	for range examinations {
		e, sum, err := v.examine(ctx, k, pace)
		if !errors.Is(err, fault.ErrChanged) {
			return settled{e, sum}, err
		}
	}
	return settled{}, fmt.Errorf("%w: artifact of %q keeps changing", ErrUnavailable, k)
}

// examine judges the artifact by the row as it is in the database now: what memory
// holds may be older than a save by another process.
func (v *verifier) examine(ctx context.Context, k catalogue.Key, pace *rate.Limiter) (*entry, string, error) {
	e, err := v.lookup.reload(ctx, k)
	if err != nil {
		return nil, "", err
	}
	found, err := v.read(ctx, e, pace)
	if err != nil {
		return nil, "", err
	}
	if found.TooLarge || e.record.Checksum != "" && e.record.Checksum != found.Sum {
		if err := v.confirm(ctx, e, found, pace); err != nil {
			return nil, "", err
		}
		return nil, "", v.quarantine(ctx, e, found)
	}
	if err := v.checkSignature(ctx, e, found); err != nil {
		return nil, "", err
	}
	return e, found.Sum, v.clear(ctx, e, found)
}

// read reads what the row of an entry refers to.
func (v *verifier) read(ctx context.Context, e *entry, pace *rate.Limiter) (artifact.Reading, error) {
	found, err := v.store.Read(ctx, e.record.ArtifactRef, pace)
	if errors.Is(err, ErrArtifactMissing) && e.row.Quarantined {
		err = ErrChecksumMismatch
	}
	if errors.Is(err, ErrUnreadable) {
		v.log.Error("artifact cannot be read", "blueprint_id", e.row.ID, "variant", e.row.Variant, "error", err)
	}
	return found, err
}

// checkSignature refuses an artifact that no trusted key signed. It stays where it
// is: nothing says that it is damaged, and a signature may follow.
func (v *verifier) checkSignature(ctx context.Context, e *entry, found artifact.Reading) error {
	if !v.store.WantsSignatures() {
		return nil
	}
	beside := v.store.SignatureIdentity(ctx, e.record.ArtifactRef)
	err := v.store.Trusted(ctx, e.record.ArtifactRef, found)
	if errors.Is(err, ErrUntrusted) {
		v.untrusted.Add(1)
		v.log.Warn("artifact without trusted signature", "blueprint_id", e.row.ID, "variant", e.row.Variant,
			"artifact", e.record.ArtifactRef)
		v.learn(e, &verdict{identity: found.Identity, sum: found.Sum, err: ErrUntrusted, signature: beside})
	}
	return err
}

// learn remembers a verdict, unless the file could change again and keep its times.
func (v *verifier) learn(e *entry, found *verdict) {
	if found.identity.Settled(time.Now()) {
		e.verdict.Store(found)
		e.checked.Store(v.lookup.clock.now())
	}
}

// clear remembers that the file is what the row promises.
func (v *verifier) clear(ctx context.Context, e *entry, found artifact.Reading) error {
	if e.row.Quarantined {
		if err := v.catalogue.ClearQuarantine(ctx, e.row); err != nil {
			return err
		}
	}
	v.learn(e, &verdict{identity: found.Identity, sum: found.Sum})
	return nil
}

// confirm reads a damaged artifact a second time: bytes that were garbled on their
// way are no damage.
func (v *verifier) confirm(ctx context.Context, e *entry, found artifact.Reading, pace *rate.Limiter) error {
	again, err := v.store.Read(ctx, e.record.ArtifactRef, pace)
	switch {
	case errors.Is(err, ErrArtifactMissing):
		return fault.ErrChanged
	case err != nil:
		return err
	case again.Sum != found.Sum || again.Identity != found.Identity:
		return fault.ErrChanged
	default:
		return nil
	}
}

// quarantine sets a damaged file aside. It looks at row and file once more inside the
// transaction: a save that happened meanwhile must not lose its good file.
func (v *verifier) quarantine(ctx context.Context, e *entry, found artifact.Reading) error {
	movedTo, sound := "", false
	err := v.catalogue.Quarantine(ctx, e.row, func(ctx context.Context, sharing []catalogue.Row) (*catalogue.Damage, error) {
		now, err := v.store.Identify(ctx, e.record.ArtifactRef)
		if err != nil || now != found.Identity {
			return nil, fault.ErrChanged
		}
		if sound = confirmedElsewhere(e.row, sharing, found.Sum); sound {
			return nil, nil
		}
		if movedTo, err = v.store.Quarantine(ctx, e.record.ArtifactRef, found.Sum); err != nil {
			v.log.Warn("damaged artifact left in place", "artifact", e.record.ArtifactRef, "error", err)
		}
		return &catalogue.Damage{Expected: e.record.Checksum, Actual: found.Sum, MovedTo: movedTo}, nil
	})
	if err != nil {
		return err
	}
	v.damaged.Add(1)
	v.log.Error("artifact does not match its checksum", "blueprint_id", e.row.ID, "variant", e.row.Variant,
		"artifact", e.record.ArtifactRef, "expected", e.record.Checksum, "actual", found.Sum, "moved_to", movedTo, "row_is_wrong", sound)
	if movedTo == "" {
		v.learn(e, &verdict{identity: found.Identity, sum: found.Sum, err: ErrChecksumMismatch})
	}
	return ErrChecksumMismatch
}

// confirmedElsewhere says that an artifact is not damaged although one row promises
// something else of it: its name says what it holds, or another row does. That one row
// must not take the kernel from the others.
func confirmedElsewhere(accuser catalogue.Row, sharing []catalogue.Row, sum string) bool {
	if artifact.Promised(accuser.Path) == sum {
		return true
	}
	for _, other := range sharing {
		if record, err := decode(other); err == nil && record.Checksum == sum {
			return true
		}
	}
	return false
}
