// Package policies brings policy updates from the bus into the store of policies, their large
// payloads by way of the kernel library, and names those that the controller asks. The boot
// puts it between the three.
package policies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// Fetch reads payloads that lie in the kernel library.
func Fetch(library *urza.Library) func(context.Context, string, int) ([]byte, error) {
	return func(ctx context.Context, sum string, limit int) ([]byte, error) {
		content, err := library.OpenPayload(ctx, sum)
		var payload []byte
		if err == nil {
			payload, err = io.ReadAll(io.LimitReader(content, int64(limit)))
			err = errors.Join(err, content.Close())
		}
		for _, final := range []error{urza.ErrArtifactMissing, urza.ErrUnreadable, urza.ErrUntrusted, urza.ErrChecksumMismatch} {
			if errors.Is(err, final) {
				return nil, fmt.Errorf("%w: %w", policy.ErrNoPayload, err)
			}
		}
		return payload, err
	}
}

// Share lays a payload down in the kernel library, where the other instances find it.
func Share(library *urza.Library) func(context.Context, []byte) error {
	return func(ctx context.Context, payload []byte) error {
		_, err := library.SavePayload(ctx, payload)
		return err
	}
}

// InForce are the policies that the controller asks, nil where there is none.
func InForce(store *policy.Store) (active, shadow tamiyo.Policy) {
	decides, beside := store.Deciding()
	if decides != nil {
		active = decides
	}
	if beside != nil {
		shadow = beside
	}
	return active, shadow
}

// Runs are those that are decided on.
type Runs interface {
	Runs(ctx context.Context, after string, limit int) ([]string, error)
	View(ctx context.Context, run string) (*control.View, error)
}

// Compared asks whether the policy of a version was asked in the shadow about what was decided in
// any run. What cannot be read of one is told of and left out.
func Compared(runs Runs, logger *slog.Logger) func(ctx context.Context, version string) (bool, error) {
	return func(ctx context.Context, version string) (bool, error) {
		names, err := runs.Runs(ctx, "", math.MaxInt)
		if err != nil {
			return false, fmt.Errorf("list runs: %w", err)
		}
		for _, run := range names {
			view, err := runs.View(ctx, run)
			switch {
			case ctx.Err() != nil:
				return false, ctx.Err()
			case errors.Is(err, oona.ErrUnavailable):
				return false, err
			case err != nil:
				logger.Error("what is stored of a run cannot be read; it is left out", "run", run, "error", err)
			case view != nil && view.Tamiyo != nil && view.Tamiyo.Compared(version):
				return true, nil
			}
		}
		return false, nil
	}
}

// Take takes updates in. catchUp learns first what the others told: whoever led before may have
// gone on from what is known here. One is settled when it is where whoever leads next finds it:
// what catchUp returns puts it there, unless another leads by then.
func Take(store *policy.Store, catchUp func(context.Context) (tell func(context.Context) error, err error)) oona.Handler {
	untold := "" // the entry that was taken in, and that the others could not be told of
	return func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
		update, ok := d.Payload.(*leyline.PolicyUpdate)
		if !ok {
			return nil, oona.Permanent(fmt.Errorf("policy update is %T", d.Payload))
		}
		tell, err := catchUp(ctx)
		if err != nil {
			return nil, oona.Outage(err)
		}
		again := d.Attempt > 1 || d.ID == untold
		if !again || !store.Again(update, d.Attributes) {
			err := store.Accept(ctx, update, d.Attributes)
			if _, rejected := errors.AsType[*policy.RejectedError](err); rejected {
				return nil, oona.Permanent(err)
			}
			if err != nil { // The disk failed: the update waits until there is room, and those behind it too.
				return nil, oona.Outage(err)
			}
		}
		if err := tell(ctx); err != nil {
			untold = d.ID
			return nil, oona.Outage(fmt.Errorf("tell the others of policy %q: %w", update.GetPolicyId(), err))
		}
		return nil, nil
	}
}
