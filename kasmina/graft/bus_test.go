package graft_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/trainer"
)

// service is the other side of a graft on a real bus: it takes reports, and gives
// orders with its record.
type service struct {
	*world
	client  *oona.Client
	version int64
	reports chan told
}

// busWorld runs a graft on a bus, with a service.
func busWorld(t *testing.T, url string) *service {
	t.Helper()
	s := &service{reports: make(chan told, 64)}
	connect := func(config graft.Config, name string) *oona.Client {
		client, err := oona.Connect(t.Context(), oona.Config{URL: url, Group: name, Consumer: name, Keyring: config.Keyring})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	s.world = idleWorld(t, func(c *graft.Config) {
		s.client = connect(*c, "service")
		c.Bus = connect(*c, "trainer")
	})
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		end()
		running.Wait()
	})
	running.Go(func() {
		err := s.client.Consume(ctx, ctx, oona.Subscription{Stream: "oona.normal", Handlers: map[leyline.BusMessageType]oona.Handler{
			leyline.BusMessageType_BUS_MESSAGE_TYPE_SYSTEM_STATE: s.take,
		}})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("consume: %v", err)
		}
	})
	s.run()
	return s
}

func (s *service) take(_ context.Context, delivery *oona.Delivery) ([]oona.Message, error) {
	packet, ok := delivery.Payload.(*leyline.SystemStatePacket)
	if !ok {
		return nil, errors.New("no state")
	}
	report, err := trainer.ReadReport(delivery.Attributes)
	if err != nil {
		return nil, err
	}
	s.reports <- told{packet, report}
	return nil, nil
}

// give writes the service's record together with an order.
func (s *service) give(order trainer.Order) {
	s.Helper()
	version, err := s.client.Records(trainer.Stream).Save(s.Context(), oona.RecordWrite{
		Key: oona.RecordKey{Part: "kasmina", Run: "run-1"}, Version: s.version, Value: []byte("{}"),
		Orders: []*leyline.AdaptationCommand{s.signed(order)},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.version = version
}

// A seed is attached, blended and kept by nothing but what crosses the bus.
func TestSeedGrowsOverARealBus(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) string{
		"redis-server":    func(t *testing.T) string { return redistest.Start(t).URL },
		"embedded broker": embeddedURL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := busWorld(t, start(t))
			s.give(s.attachOrder("s", scaling(t, 2, features), trainer.Blend{}))
			want := stageTraining
			for _, rung := range append(ladder, ladder[len(ladder)-1]) {
				s.eventually(func() bool {
					s.graft.Apply()
					seeds := s.graft.Seeds()
					return len(seeds) == 1 && seeds[0].Stage == want
				})
				s.graft.Report(&leyline.SystemStatePacket{CurrentEpoch: 1}, nil)
				report := <-s.reports
				if report.seed("s").GetStage() != want || report.report.OrderRead != s.number {
					t.Fatalf("report %v of %+v, want %s", report.packet, report.report, want)
				}
				if want == stageFossilized {
					break
				}
				want = rung.stage
				s.give(s.order(rung.kind, "s"))
			}
			near(t, "output", s.output(row(1, 2, 3, 4)), []float32{2, 4, 6, 8})
		})
	}
}

func embeddedURL(t *testing.T) string {
	t.Helper()
	b, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b.URL()
}
