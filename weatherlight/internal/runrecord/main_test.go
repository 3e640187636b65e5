package runrecord_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/weatherlight/internal/runrecord"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	part    = "test"
	testRun = "run-1"
	// never is a grace that no test waits for.
	never = time.Hour
	// patience bounds every wait.
	patience = 20 * time.Second
)

var errCrash = errors.New("the process is gone")

// tally is a record: how often it was decided on.
type tally struct{ Count int }

// store is a bus with records.
type store struct {
	*oona.Records

	t      *testing.T
	client *oona.Client
	addr   string
}

// onBothBuses runs a test on a real Redis and on the embedded broker.
func onBothBuses(t *testing.T, test func(t *testing.T, s *store)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { test(t, connect(t, redistest.Start(t).URL)) })
	t.Run("broker", func(t *testing.T) {
		b, err := embedded.Start(embedded.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		test(t, connect(t, b.URL()))
	})
}

func streamOf(run string) string { return "orders." + run }

func connect(t *testing.T, address string) *store {
	t.Helper()
	keyring, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	client, err := oona.Connect(t.Context(), oona.Config{URL: address, Group: "g", Consumer: "c", Keyring: keyring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &store{Records: client.Records(streamOf), t: t, client: client, addr: parsed.Host}
}

// flush makes the bus forget everything.
func (s *store) flush() {
	s.t.Helper()
	conn, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	reply := make([]byte, 3)
	if _, err := fmt.Fprint(conn, "*1\r\n$8\r\nFLUSHALL\r\n"); err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.Read(reply); err != nil || string(reply) != "+OK" {
		s.t.Fatalf("FLUSHALL: %q, %v", reply, err)
	}
}

// orders are the ids of the commands on the stream of a run, until there are some
// number of them.
func (s *store) orders(run string, want int) []string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var ids []string
	err := s.client.FollowOrders(ctx, streamOf(run), func(order *leyline.AdaptationCommand) {
		if ids = append(ids, order.GetCommandId()); len(ids) == want {
			cancel()
		}
	})
	if err != nil {
		s.t.Error(err)
	}
	return ids
}

// press publishes outputs by noting them, or fails.
type press struct {
	mu      sync.Mutex
	outputs []runrecord.Output
	lost    []string     // runs of which something could not be read
	fails   func() error // before anything is published
}

func (p *press) publish(_ context.Context, outputs []runrecord.Output) error {
	if p.fails != nil {
		if err := p.fails(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outputs = append(p.outputs, outputs...)
	return nil
}

func (p *press) noteLost(run string, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = append(p.lost, run)
}

func (p *press) published() []runrecord.Output {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outputs
}

func keeper(s runrecord.Store, p *press, grace time.Duration, cached int) *runrecord.Keeper[tally] {
	return keeperWith(s, p, func(c *runrecord.Config[tally]) { c.Grace, c.Cached = grace, cached })
}

func keeperWith(s runrecord.Store, p *press, change func(*runrecord.Config[tally])) *runrecord.Keeper[tally] {
	config := runrecord.Config[tally]{
		Part: part, Store: s, Publish: p.publish, Lost: p.noteLost,
		Decode: func(value []byte) (*tally, error) {
			if strings.Contains(string(value), "unreadable") {
				return nil, errors.New("unreadable")
			}
			var r tally
			return &r, json.Unmarshal(value, &r)
		},
		Encode: func(r *tally) ([]byte, error) { return json.Marshal(r) },
	}
	change(&config)
	return runrecord.New(config)
}

// counted is a decision that counts one more.
func counted(outputs ...runrecord.Output) runrecord.Decide[tally] {
	return func(r *tally) (runrecord.Outcome[tally], error) {
		next := &tally{Count: 1}
		if r != nil {
			next.Count = r.Count + 1
		}
		return runrecord.Outcome[tally]{Record: next, Outputs: outputs}, nil
	}
}

func step(t *testing.T, k *runrecord.Keeper[tally], decide runrecord.Decide[tally]) {
	t.Helper()
	if _, err := k.Step(t.Context(), testRun, decide); err != nil {
		t.Fatal(err)
	}
}

func wantCount(t *testing.T, k *runrecord.Keeper[tally], want int) {
	t.Helper()
	record, err := k.Peek(t.Context(), testRun)
	if err != nil || record == nil || record.Count != want {
		t.Errorf("the record is %+v, %v, want %d", record, err, want)
	}
}
