package policy

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

// networkOf is the file of a policy that gives back its rows, each times a factor.
func networkOf(t testing.TB, factor float32, shape ...int) []byte {
	t.Helper()
	b := kernel.NewBuilderFor("policy", shape...)
	b.Init("factor", kernel.FromSlice([]float32{factor}, 1))
	b.Node("Mul", []string{"host", "factor"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// shelf is where the stores of a fleet share payloads.
type shelf struct {
	mu       sync.Mutex
	payloads map[string][]byte
	away     error
}

func (s *shelf) fetch(_ context.Context, sum string, _ int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	payload, found := s.payloads[sum]
	if s.away != nil {
		return nil, s.away
	}
	if !found {
		return nil, ErrNoPayload
	}
	return payload, nil
}

func (s *shelf) share(_ context.Context, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.payloads == nil {
		s.payloads = make(map[string][]byte)
	}
	s.payloads[payloads.Digest(payload)] = payload
	return s.away
}

// clock issues updates, each later than the one before.
type clock struct{ at time.Time }

func (c *clock) next() time.Time {
	c.at = c.at.Add(time.Millisecond)
	return c.at
}

func (c *clock) act(t testing.TB, store *Store, action journal.Action, payload []byte) error {
	t.Helper()
	digest := ""
	if payload != nil {
		digest = payloads.Digest(payload)
	}
	return store.Accept(t.Context(), update("operator", "", c.next(), ""), action.Attributes(digest))
}

func (c *clock) take(t testing.TB, store *Store, version string, payload []byte) {
	t.Helper()
	if err := store.Accept(t.Context(), update("p", version, c.next(), string(payload)), nil); err != nil {
		t.Fatal(err)
	}
}

// inForce are the versions that decide and stand in the shadow.
func inForce(store *Store) [2]string {
	var names [2]string
	active, shadow := store.Deciding()
	for i, decider := range []*network.Decider{active, shadow} {
		if decider != nil {
			names[i] = decider.Version()
		}
	}
	return names
}

func want(t *testing.T, store *Store, active, shadow string) {
	t.Helper()
	if got := inForce(store); got != [2]string{active, shadow} {
		t.Errorf("in force %q, want %q", got, [2]string{active, shadow})
	}
}
