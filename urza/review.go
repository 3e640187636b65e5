package urza

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

// Approve records that an operator approved the artifact that a blueprint has now,
// after reading it: a later save of another artifact is not approved by it.
// Errors: those of Verify.
func (l *Library) Approve(ctx context.Context, blueprintID string) error {
	_, sum, err := l.verifier.settle(ctx, catalogue.Key{ID: blueprintID})
	if err == nil {
		err = l.review(blueprintID, func() error { return l.catalogue.Approve(ctx, blueprintID, sum) })
	}
	if err != nil {
		return fmt.Errorf("urza: approve %q: %w", blueprintID, err)
	}
	return nil
}

// SetAside takes a blueprint out of use, for a reason: requests for it are answered
// as if it were not there, until Release. Its row and artifact stay, and saves do
// not bring it back. What was announced before can still be opened.
// Errors: ErrNotFound, ErrUnavailable.
func (l *Library) SetAside(ctx context.Context, blueprintID, reason string) error {
	err := l.review(blueprintID, func() error { return l.catalogue.SetAside(ctx, blueprintID, reason) })
	if err != nil {
		return fmt.Errorf("urza: set aside %q: %w", blueprintID, err)
	}
	return nil
}

// Release takes SetAside back. Errors: ErrNotFound, ErrUnavailable.
func (l *Library) Release(ctx context.Context, blueprintID string) error {
	err := l.review(blueprintID, func() error { return l.catalogue.Release(ctx, blueprintID) })
	if err != nil {
		return fmt.Errorf("urza: release %q: %w", blueprintID, err)
	}
	return nil
}

// review writes one decision about a blueprint.
func (l *Library) review(id string, write func() error) error {
	if err := l.lookup.open(); err != nil {
		return err
	}
	err := write()
	l.lookup.forget(catalogue.Key{ID: id})
	return err
}

// policy says which kernels are for use.
type policy struct {
	requireApproval bool
	permit          func(descriptor *leyline.BlueprintDescriptor, approved bool) error // or nil
}

// withheld is why a kernel is not for use, an ErrWithheld, or nil.
func (p policy) withheld(record *Record) error {
	switch {
	case record.SetAside:
		return fmt.Errorf("%w: set aside by an operator", ErrWithheld)
	case p.requireApproval && record.Descriptor.GetApprovalRequired() && !record.Approved:
		return fmt.Errorf("%w: not approved", ErrWithheld)
	case p.permit == nil:
		return nil
	}
	if err := p.permit(record.Descriptor, record.Approved); err != nil {
		return fmt.Errorf("%w: %w", ErrWithheld, err)
	}
	return nil
}

// withheldVariant is why a variant is not for use: an operator's approval of the
// blueprint's own kernel covers the variants when our forge made that kernel too, for
// then it is the same network in another shape.
func (p policy) withheldVariant(own, variant *Record) error {
	judged := *variant
	_, forged := own.Extras["build_digest"].(string)
	judged.Approved = own.Approved && forged
	judged.SetAside = variant.SetAside || own.SetAside
	return p.withheld(&judged)
}

// Withheld is why a kernel that is there is not for use, an ErrWithheld, or nil.
func (l *Library) Withheld(record *Record) error { return l.lookup.policy.withheld(record) }

// WithheldVariant is why a kernel that is forged of a blueprint would be withheld, an
// ErrWithheld, or nil: so nobody has to ask for one to learn that. It costs no look-up
// while nothing changed. Any other error is ErrUnavailable.
func (l *Library) WithheldVariant(ctx context.Context, descriptor *leyline.BlueprintDescriptor) error {
	own, err := l.lookup.entry(ctx, catalogue.Key{ID: descriptor.GetBlueprintId()})
	if errors.Is(err, ErrNotFound) {
		return l.Withheld(&Record{Descriptor: descriptor})
	}
	if err != nil {
		return fmt.Errorf("urza: variants of %q: %w", descriptor.GetBlueprintId(), err)
	}
	return l.lookup.policy.withheldVariant(own.record, &Record{Descriptor: descriptor})
}

// mayForge is why a variant of a blueprint must not be made now, or nil: what would be
// withheld, or would find no room, is not made first.
func (l *Library) mayForge(ctx context.Context, k catalogue.Key) error {
	own, err := l.lookup.entry(ctx, catalogue.Key{ID: k.ID})
	if err == nil {
		err = l.lookup.policy.withheldVariant(own.record, &Record{Descriptor: own.record.Descriptor})
	} else if errors.Is(err, ErrNotFound) {
		err = nil // the forge knows what is permitted
	}
	if err != nil {
		return err
	}
	return l.catalogue.Room(ctx, k)
}
