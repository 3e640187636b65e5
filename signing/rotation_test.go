package signing_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/esper-lite/weatherlight/signing"
)

// Two processes share the secret and are rotated one after the other, as
// operators do: accept the new one, sign with it, drop the old one.
func TestSecretsRotateUnderLoadWithoutARefusal(t *testing.T) {
	t.Parallel()
	sender, receiver := newKeyring(t, "zero"), newKeyring(t, "zero")
	rotations := []struct{ current, previous string }{
		{"zero", "one"}, {"one", "zero"}, {"one", ""},
		{"one", "two"}, {"two", "one"}, {"two", ""},
	}
	var refused, checked atomic.Int64
	for _, step := range rotations {
		// Messages signed before the step are verified during and after it.
		ctx, stop := context.WithCancel(context.Background())
		var load sync.WaitGroup
		for range 4 {
			load.Go(func() {
				for i := 0; ctx.Err() == nil || i == 0; i++ {
					checked.Add(1)
					signer := sender.Signer()
					message := []byte("message " + signer.KeyID())
					if receiver.VerifyEnvelope(message, signer.SignEnvelope(message)) != nil {
						refused.Add(1)
					}
				}
			})
		}
		for _, ring := range []*signing.Keyring{receiver, sender} {
			if err := ring.Rotate(step.current, step.previous); err != nil {
				t.Error(err)
			}
		}
		stop()
		load.Wait()
	}
	if refused.Load() != 0 || checked.Load() == 0 {
		t.Errorf("%d of %d messages were refused", refused.Load(), checked.Load())
	}
}

func TestRotationToABlankSecretChangesNothing(t *testing.T) {
	t.Parallel()
	ring := newKeyring(t, "secret")
	before := ring.KeyID()
	if err := ring.Rotate(" ", "other"); !errors.Is(err, signing.ErrNoSecret) {
		t.Errorf("Rotate = %v, want ErrNoSecret", err)
	}
	if ring.KeyID() != before || ring.VerifyEnvelope([]byte("m"), ring.SignEnvelope([]byte("m"))) != nil {
		t.Error("the secret is gone")
	}
}
