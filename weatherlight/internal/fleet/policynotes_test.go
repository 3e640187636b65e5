package fleet

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
)

// policies are a store that has no policy of its own.
type policies struct {
	learn func(version string)
}

func (policies) Newest() (update accepted.Update, found bool) { return update, false }

func (policies) Force() (force journal.Force, found bool) { return force, false }

func (policies) LearnForce(context.Context, journal.Force) error { return nil }

func (p policies) Learn(update accepted.Update) error {
	p.learn(update.Metadata.GetTamiyoPolicyVersion())
	return nil
}

func policyOf(version string) accepted.Update {
	return accepted.Update{
		Metadata: &leyline.PolicyUpdate{
			PolicyId: "p", TamiyoPolicyVersion: version, IssuedAt: timestamppb.Now(), Payload: []byte(version),
		},
		AcceptedAt: time.Now(),
	}
}

func keyringOf(t *testing.T, secret string) *signing.Keyring {
	t.Helper()
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	return keyring
}

func noteOf(t *testing.T, keyring *signing.Keyring, version string) *policyNote {
	t.Helper()
	note, err := newPolicyNote(keyring, policyOf(version))
	if err != nil {
		t.Fatal(err)
	}
	return note
}

// Whoever can write to the bus can write what the instances tell.
func TestForgedNoteOfAPolicyIsNotLearned(t *testing.T) {
	keyring := keyringOf(t, "secret")
	var learned []string
	store := policies{func(version string) { learned = append(learned, version) }}
	notes := NewPolicyNotes(testFleet(&fakeLease{}), store, keyring, slog.New(slog.DiscardHandler))
	genuine := noteOf(t, keyring, "genuine")
	changed := *genuine
	changed.Policy = append([]byte(" "), changed.Policy...)
	for name, note := range map[string]*policyNote{
		"another secret": noteOf(t, keyringOf(t, "another secret"), "forged"), "changed": &changed, "empty": {},
	} {
		if err := notes.learn(member{name: "other", metadata: metadata{Policy: note}}); err == nil || len(learned) > 0 {
			t.Errorf("%s: learned %v, %v", name, learned, err)
		}
	}
	if err := notes.learn(member{name: "other", metadata: metadata{Policy: genuine}}); err != nil {
		t.Error(err)
	}
	if len(learned) != 1 || learned[0] != "genuine" {
		t.Errorf("learned %v, not the genuine note", learned)
	}
}

// Learning goes to disk, and a disk may be slow.
func TestRenewalDoesNotWaitForAPolicyToBeLearned(t *testing.T) {
	keyring := keyringOf(t, "secret")
	learning, release := make(chan string), make(chan struct{})
	store := policies{func(version string) {
		learning <- version
		<-release
	}}
	held := &fakeLease{}
	f := testFleet(held)
	notes := NewPolicyNotes(f, store, keyring, slog.New(slog.DiscardHandler))
	renew := func(version string) {
		t.Helper()
		held.roll = rollOf(t, "b", map[string]metadata{"b": {Policy: noteOf(t, keyring, version)}})
		if err := f.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = notes.Run(ctx) })
	renew("first")
	if got := <-learning; got != "first" {
		t.Errorf("learns %s", got)
	}
	renew("second")
	renew("third")
	close(release)
	if got := <-learning; got != "third" {
		t.Errorf("learns %s, not what was told last", got)
	}
	stop()
	running.Wait()
}
