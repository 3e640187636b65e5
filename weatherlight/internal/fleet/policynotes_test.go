package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
)

// policies are a store that has no policy of its own but one.
type policies struct {
	own        *accepted.Update
	learn      func(version string)
	learnForce func(at int64) error
}

func (p policies) Recent() (recent journal.Recent, found bool) {
	return journal.Recent{Newest: p.own}, p.own != nil
}

func (policies) Force() (force journal.Force, found bool) { return force, false }

func (p policies) LearnForce(_ context.Context, force journal.Force) error {
	if p.learnForce == nil {
		return nil
	}
	return p.learnForce(force.At.IssuedAt)
}

func (policies) Complete(context.Context) error { return nil }

func (p policies) Learn(recent journal.Recent) error {
	if p.learn != nil {
		p.learn(recent.Newest.Metadata.GetTamiyoPolicyVersion())
	}
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
	note, err := newNote(keyring, policyNoteContext, policyOf(version))
	if err != nil {
		t.Fatal(err)
	}
	return note
}

// Whoever can write to the bus can write what the instances tell.
func TestForgedNoteOfAPolicyIsNotLearned(t *testing.T) {
	keyring := keyringOf(t, "secret")
	var learned []string
	store := policies{learn: func(version string) { learned = append(learned, version) }}
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
	store := policies{learn: func(version string) {
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

// Whoever leads next has to know what its predecessor told, though that is gone.
func TestWhatTheDepartedToldIsLearnedBeforeAnythingIsDone(t *testing.T) {
	keyring := keyringOf(t, "secret")
	away := errors.New("the library is away")
	var learned []int64
	store := policies{learnForce: func(at int64) error {
		if away == nil {
			learned = append(learned, at)
		}
		return away
	}}
	held := &fakeLease{}
	f := testFleet(held)
	notes := NewPolicyNotes(f, store, keyring, slog.New(slog.DiscardHandler))
	renew := func(members map[string]metadata) {
		t.Helper()
		held.roll = rollOf(t, "b", members)
		if err := f.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	told := func(at int64) map[string]metadata {
		note, err := newNote(keyring, forceNoteContext, journal.Force{At: accepted.Position{IssuedAt: at}})
		if err != nil {
			t.Fatal(err)
		}
		return map[string]metadata{"b": {Force: note}}
	}
	renew(told(1))
	renew(told(2))
	renew(nil) // it was killed, and nobody has looked
	if _, err := notes.CatchUp(t.Context()); !errors.Is(err, away) {
		t.Errorf("it goes on with %v", err)
	}
	away = nil
	for range 2 {
		if _, err := notes.CatchUp(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(learned, []int64{2}) {
		t.Errorf("learned %v", learned)
	}
}

// An instance of the release before looks for what was accepted among the notes of renewals alone.
func TestWhatWasAcceptedIsToldToTheReleaseBefore(t *testing.T) {
	keyring, own := keyringOf(t, "secret"), policyOf("own")
	held := &fakeLease{roll: lease.Roll{Token: 8, Leader: "a"}}
	f := testFleet(held)
	notes := NewPolicyNotes(f, policies{own: &own}, keyring, slog.New(slog.DiscardHandler))
	if err := f.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	proclaim, err := notes.CatchUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own = policyOf("accepted")
	if err := proclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	var told metadata
	var newest accepted.Update
	if err := errors.Join(json.Unmarshal(held.note, &told), told.Policy.open(keyring, policyNoteContext, &newest)); err != nil {
		t.Fatal(err)
	}
	if version := newest.Metadata.GetTamiyoPolicyVersion(); version != "accepted" {
		t.Errorf("told of %q", version)
	}
}

// The bus may forget what was proclaimed, or another may have said something older.
func TestLeaderSeesToItThatWhatItKnowsIsProclaimed(t *testing.T) {
	keyring, own := keyringOf(t, "secret"), policyOf("own")
	held := &fakeLease{roll: rollOf(t, "b", nil)}
	f := testFleet(held)
	notes := NewPolicyNotes(f, policies{own: &own}, keyring, slog.New(slog.DiscardHandler))
	renew := func(token int64) {
		t.Helper()
		held.roll.Token = token
		if err := f.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	said := func() string {
		var told metadata
		var recent journal.Recent
		if json.Unmarshal(held.roll.Proclaimed, &told) != nil || told.Recent.open(keyring, recentNoteContext, &recent) != nil {
			return ""
		}
		return recent.Newest.Metadata.GetTamiyoPolicyVersion()
	}
	renew(0)
	proclaim, err := notes.CatchUp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := proclaim(t.Context()); err == nil || said() != "" {
		t.Errorf("one that follows has proclaimed %q, %v", said(), err)
	}
	if notes.keep(t.Context()); said() != "" {
		t.Errorf("one that follows has proclaimed %q", said())
	}
	renew(8)
	if err := proclaim(t.Context()); err == nil || said() != "" {
		t.Errorf("what was learned before the lead was proclaimed: %q, %v", said(), err)
	}
	for _, before := range []string{"", "{}"} {
		held.roll.Proclaimed = []byte(before)
		renew(8)
		if notes.keep(t.Context()); said() != "own" {
			t.Errorf("proclaimed is %q", held.roll.Proclaimed)
		}
	}
}
