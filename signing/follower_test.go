package signing_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/signing"
)

// source is a file of secrets that a test rewrites.
type source struct {
	mu       sync.Mutex
	current  string
	previous []string
	err      error
}

func (s *source) read() (string, []string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.previous, s.err
}

func (s *source) set(err error, current string, previous ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.previous, s.err = current, previous, err
}

func TestFollowerGoesOverToNewSecretsAndKeepsGoodOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		secrets := &source{current: "old"}
		follower, err := signing.Follow(secrets.read, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ring := follower.Keyring()
		message := []byte("message")
		byOld := ring.SignEnvelope(message)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- follower.Run(ctx) }()

		secrets.set(nil, "new", "old")
		time.Sleep(2 * time.Second)
		byNew := ring.SignEnvelope(message)
		if byNew == byOld || ring.VerifyEnvelope(message, byOld) != nil {
			t.Error("not gone over to the new secret with the old one accepted")
		}
		for _, broken := range []error{errors.New("no such file"), nil} { // and then a blank one
			secrets.set(broken, "")
			time.Sleep(10 * time.Second)
			if ring.VerifyEnvelope(message, byOld) != nil || ring.SignEnvelope(message) != byNew {
				t.Error("a broken source changed the secrets")
			}
		}
		secrets.set(nil, "new")
		time.Sleep(2 * time.Second)
		if ring.VerifyEnvelope(message, byOld) == nil {
			t.Error("a secret that is gone is still accepted")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if told := strings.Count(log.String(), "secrets stay as they were"); told != 2 {
			t.Errorf("two faults were told of %d times:\n%s", told, log.String())
		}
		if strings.Contains(log.String(), "old") && strings.Contains(log.String(), "secret=old") {
			t.Error("the log names a secret")
		}
	})
}

func TestFollowerNeedsASecret(t *testing.T) {
	for _, secrets := range []*source{{}, {err: errors.New("no such file")}} {
		if _, err := signing.Follow(secrets.read, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v was enough", secrets)
		}
	}
}

func TestSecretsThatShareNothingWithThoseInUseAreRefused(t *testing.T) {
	secrets := &source{current: "one", previous: []string{"two"}}
	follower, err := signing.Follow(secrets.read, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	key := follower.Keyring().KeyID()
	secrets.set(nil, "three", "four")
	if err := follower.Reload(); !errors.Is(err, signing.ErrUnrelated) || follower.Keyring().KeyID() != key || follower.Faults() != 1 {
		t.Errorf("%v, key %s, %d faults", err, follower.Keyring().KeyID(), follower.Faults())
	}
	secrets.set(nil, "three", "two")
	if err := follower.Reload(); err != nil || follower.Keyring().KeyID() == key {
		t.Errorf("one in common: %v, key %s", err, follower.Keyring().KeyID())
	}
}

func TestNewSourceIsFollowedUnlessItCannotBeRead(t *testing.T) {
	first := func() (string, []string, error) { return "first", nil, nil }
	second := func() (string, []string, error) { return "second", []string{"first"}, nil }
	broken := func() (string, []string, error) { return "", nil, errors.New("unreadable") }
	follower, err := signing.Follow(first, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	old := follower.Keyring().KeyID()
	if err := follower.Use(broken); err == nil || follower.Keyring().KeyID() != old {
		t.Errorf("after a source that cannot be read: %v, key %s", err, follower.Keyring().KeyID())
	}
	if err := follower.Use(second); err != nil || follower.Keyring().KeyID() == old {
		t.Errorf("after a new source: %v, key %s", err, follower.Keyring().KeyID())
	}
	if err := follower.Reload(); err != nil || follower.Keyring().KeyID() == old {
		t.Errorf("the old source came back: %v, key %s", err, follower.Keyring().KeyID())
	}
}
