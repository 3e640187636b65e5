package policies

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
)

// patience bounds every wait of these tests; a machine under load takes long.
const patience = 20 * time.Second

// house is a bus and a kernel library, and the group of instances that share both.
type house struct {
	t       *testing.T
	url     string
	keyring *signing.Keyring
	name    string // of the group, its stream and its dead letters

	mu      sync.Mutex
	library map[string][]byte
}

func newHouse(t *testing.T, url string) *house {
	t.Helper()
	keyring, err := signing.NewKeyring("the secret of these tests")
	if err != nil {
		t.Fatal(err)
	}
	name := strings.NewReplacer("/", ".", " ", "_").Replace(t.Name())
	return &house{t: t, url: url, keyring: keyring, name: name, library: make(map[string][]byte)}
}

func (h *house) fetch(_ context.Context, sum string, _ int) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	payload, found := h.library[sum]
	if !found {
		return nil, policy.ErrNoPayload
	}
	return payload, nil
}

func (h *house) connect(consumer string) *oona.Client {
	h.t.Helper()
	client, err := oona.Connect(h.t.Context(), oona.Config{
		URL: h.url, Group: h.name, Consumer: consumer, Keyring: h.keyring, DialTimeout: patience, RetryBackoff: 10 * time.Millisecond,
		Streams: oona.Streams{Policy: h.name}, DeadLetter: h.name + ".dead",
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = client.Close() })
	return client
}

// instance is what of a service takes policies in.
type instance struct {
	*house

	store *policy.Store
	bus   *oona.Client
	lease *lease.Lease
	fleet *fleet.Fleet
	at    func(point string) // sees each point that an update passes

	fetch, work       context.Context
	endFetch, endWork context.CancelFunc
	reading, beside   sync.WaitGroup
	handles           atomic.Bool
}

// join starts an instance.
func (h *house) join(name string, at func(point string)) *instance {
	h.t.Helper()
	i := &instance{house: h, bus: h.connect(name)}
	i.at = func(point string) {
		if i.handles.Load() {
			at(point)
		}
	}
	i.fetch, i.endFetch = context.WithCancel(context.Background())
	i.work, i.endWork = context.WithCancel(context.Background())
	store, err := policy.Open(policy.Config{
		Dir: h.t.TempDir(), Fetch: h.fetch,
		Share: func(_ context.Context, payload []byte) error {
			h.mu.Lock()
			h.library[payloads.Digest(payload)] = payload
			h.mu.Unlock()
			i.at("shared")
			return nil
		},
		Emit: func(*leyline.TelemetryPacket) { i.at("stored") },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	i.store = store
	i.lease = i.bus.NewLease(lease.Config{Owner: name, TTL: fleet.TTL})
	i.fleet = fleet.New(fleet.Config{
		Name: name, Lease: i.lease, Departed: func(string, time.Duration) {}, Clock: cadence.PhaseOf(name),
		Logger: slog.New(slog.DiscardHandler),
	})
	if err := i.fleet.Join(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	notes := fleet.NewPolicyNotes(i.fleet, store, h.keyring, slog.New(slog.DiscardHandler))
	i.beside.Go(func() { _ = i.fleet.Run(i.work) })
	i.beside.Go(func() { _ = notes.Run(i.work) })
	i.reading.Go(func() { _ = i.fleet.WhileLeader(i.consume(notes))(i.fetch) })
	h.t.Cleanup(func() {
		i.endFetch()
		i.endWork()
		i.reading.Wait()
		i.beside.Wait()
	})
	return i
}

// consume reads as a service does.
func (i *instance) consume(notes *fleet.PolicyNotes) func(ctx, work context.Context) error {
	take := Take(i.store, func(ctx context.Context) (func(context.Context) error, error) {
		tell, err := notes.CatchUp(ctx)
		i.at("caught up")
		return func(ctx context.Context) error {
			i.at("accepted")
			err := tell(ctx)
			i.at("told")
			return err
		}, err
	})
	return func(fetch, _ context.Context) error {
		return i.bus.Consume(fetch, i.work, oona.Subscription{
			Stream: i.name, Concurrency: 1, Exclusive: true, Fence: i.fleet.HoldLead, Block: 50 * time.Millisecond,
			Key: func(*oona.Delivery) string { return "policies" },
			Handlers: map[leyline.BusMessageType]oona.Handler{
				leyline.BusMessageType_BUS_MESSAGE_TYPE_POLICY_UPDATE: func(ctx context.Context, d *oona.Delivery) ([]oona.Message, error) {
					i.handles.Store(true)
					defer i.handles.Store(false)
					i.at("read")
					answers, err := take(ctx, d)
					i.at("handled")
					return answers, err
				},
			},
		})
	}
}

// eventually polls until the condition holds.
func (h *house) eventually(what string, holds func() bool) {
	h.t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-poll.C {
		if holds() {
			return
		}
	}
	h.t.Fatalf("waited %v in vain: %s", patience, what)
}

// ends are how an instance goes. Its place among the others ends at once, as if its lease had
// run out.
var ends = map[string]func(i *instance){
	// It is killed: nothing comes behind the point that it has reached.
	"killed": func(i *instance) {
		i.endWork()
		i.endFetch()
		go func() { _ = i.lease.Release(context.Background()) }()
		runtime.Goexit()
	},
	// A stop has no time.
	"stopped at once": func(i *instance) {
		i.endWork()
		i.endFetch()
		go i.leave()
	},
	// A stop waits for what is in hand.
	"stopped": func(i *instance) {
		i.endFetch()
		go i.leave()
	},
}

func (i *instance) leave() {
	i.endFetch()
	defer i.endWork()
	i.reading.Wait()
	_ = i.fleet.Leave(context.Background())
}

// points are all that an update passes on its way.
var points = []string{"read", "caught up", "shared", "stored", "accepted", "told", "handled"}

// policyFile is the file of a policy that gives back its rows.
func policyFile(t *testing.T) []byte {
	t.Helper()
	b := kernel.NewBuilder("policy", network.Features)
	b.Node("Identity", []string{"host"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Whenever the leader goes, and however: what the bus took of it in this order, the heir has in this
// order, and refuses nothing.
func TestHeirGoesOnWhereverItsLeaderWentAway(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for _, point := range points {
		for how, end := range ends {
			for _, there := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/heir there %v", point, how, there), func(t *testing.T) {
					t.Parallel()
					newHouse(t, redis.URL).passOn(point, end, there)
				})
			}
		}
	}
}

// passOn has a leader go at one point of each update, and its heir take over what comes behind.
func (h *house) passOn(point string, end func(*instance), there bool) {
	file, begun := policyFile(h.t), time.Now().Add(-time.Minute)
	digest := payloads.Digest(file)
	updates := []struct {
		payload    []byte
		attributes map[string]string
	}{
		{payload: file}, {attributes: journal.ToShadow.Attributes(digest)}, {attributes: journal.Activate.Attributes(digest)},
		{}, {payload: []byte("another")}, {attributes: journal.RollBack.Attributes("")},
	}
	peer := h.connect("peer")
	goes := func(i **instance) func(string) {
		var once sync.Once
		return func(at string) {
			if at == point {
				once.Do(func() { end(*i) })
			}
		}
	}
	join := func(n int) *instance {
		var i *instance
		reached := make(chan struct{})
		see := goes(&i)
		i = h.join(fmt.Sprint("instance-", n), func(at string) { <-reached; see(at) })
		close(reached)
		return i
	}
	now := join(0)
	for n, u := range updates {
		var next *instance
		if there {
			next = join(n + 1)
		}
		at := begun.Add(time.Duration(n) * time.Second)
		err := peer.Publish(h.t.Context(), oona.Message{Attributes: u.attributes, Payload: &leyline.PolicyUpdate{
			PolicyId: "p", TamiyoPolicyVersion: fmt.Sprint("v", n), IssuedAt: timestamppb.New(at), Payload: u.payload,
		}})
		if err != nil {
			h.t.Fatal(err)
		}
		if passes := point != "shared" || u.payload != nil || u.attributes != nil && n != len(updates)-1; !passes {
			ends["stopped"](now)
		}
		h.eventually("the leader goes", func() bool { return now.fetch.Err() != nil })
		if !there {
			next = join(n + 1)
		}
		h.eventually("the heir leads", func() bool { return next.fleet.Renew(h.t.Context()) == nil && next.fleet.Leads() })
		now = next
	}
	last := h.join("last", func(string) {})
	go now.leave()
	h.eventually("the last one leads", func() bool { return last.fleet.Renew(h.t.Context()) == nil && last.fleet.Leads() })
	now = last
	h.eventually("all is taken in", func() bool {
		force, found := now.store.Force()
		return found && force.At.IssuedAt == begun.Add(time.Duration(len(updates)-1)*time.Second).UnixNano()
	})
	if force, _ := now.store.Force(); force.Active != nil || force.Shadow != nil || len(force.Before) != 0 {
		h.t.Errorf("in force is %+v", force)
	}
	recent, _ := now.store.Recent()
	if got := recent.Newest.Metadata.GetTamiyoPolicyVersion(); got != "v4" {
		h.t.Errorf("the newest is %s", got)
	}
	if got := recent.Previous; got == nil || got.Digest != digest {
		h.t.Errorf("the one before it is %v", got)
	}
	if got := recent.Announced.Metadata.GetTamiyoPolicyVersion(); got != "v4" {
		h.t.Errorf("announced last is %s", got)
	}
	letters, err := peer.DeadLetters().List(h.t.Context(), "", 10)
	if err != nil || len(letters) > 0 {
		h.t.Errorf("refused: %v, %v", letters, err)
	}
}
