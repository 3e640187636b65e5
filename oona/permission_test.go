package oona_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/oonatest"
)

func TestConsumerThatMayNotReadIsNotReady(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	tell(t, server, "ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-xreadgroup")
	c := connect(t, "redis://blind:pw@"+server.Addr+"/0", nil)
	ready := launch(t, c, oona.Subscription{Stream: "oona.normal"})
	waitFor(t, "a read is refused", func() bool {
		stats, err := c.Stats(t.Context())
		return err == nil && stats.Consuming.ReadsFailed > 0
	})
	select {
	case <-ready:
		t.Fatal("a consumer that may not read says that it is ready")
	default:
	}
	tell(t, server, "ACL", "SETUSER", "blind", "+xreadgroup")
	<-ready
}

// user is the user of that name in the access list of docs/delivery.md, with the
// password pw.
func user(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 2 && words[0] == "user" && words[1] == name {
			for i, word := range words {
				if strings.HasPrefix(word, ">") {
					words[i] = ">pw"
				}
			}
			return words
		}
	}
	t.Fatalf("docs/delivery.md has no user %s", name)
	return nil
}

// withUser starts a server with a user of the documented access list.
func withUser(t *testing.T, name string, args ...string) (server *redistest.Server, url string) {
	t.Helper()
	rules := user(t, name)
	server = redistest.Start(t, append(args, append([]string{"--user"}, rules[1:]...)...)...)
	return server, "redis://" + name + ":pw@" + server.Addr + "/0"
}

func TestServiceNeedsNoMoreThanItsDocumentedUser(t *testing.T) {
	t.Parallel()
	features := oonatest.Features{AnswersOnce: true, Durable: true, GuardedClaim: true, CountsLag: true, TellsIdle: true, Skips: true}
	oonatest.Run(t, features, func(t *testing.T) oonatest.Server {
		server, url := withUser(t, "service", redistest.AOF()...)
		return oonatest.Server{URL: url, Admin: server.URL, Restart: server.Restart}
	})
}

func TestTrainerReportsAndFollowsUnderItsDocumentedUser(t *testing.T) {
	t.Parallel()
	server, url := withUser(t, "trainer")
	reports := receive(t, connect(t, server.URL, nil))
	records := connect(t, server.URL, nil).Records(orderStream)
	trainer := connect(t, url, nil)
	for _, id := range []string{"one", "two"} {
		if err := trainer.PublishReport(t.Context(), &leyline.SystemStatePacket{PacketId: id}, map[string]string{"report": "1"}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the report arrives", func() bool { return reports.count(id) == 1 })
	}
	if err := trainer.PublishTelemetry(t.Context(), &leyline.TelemetryPacket{}, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH); err != nil {
		t.Errorf("emergency: %v", err)
	}
	ctx, end := context.WithCancel(t.Context())
	orders := make(chan string, 2)
	var running sync.WaitGroup
	running.Go(func() {
		err := trainer.FollowOrders(ctx, orderStream("r"), func(o *leyline.AdaptationCommand) { orders <- o.GetCommandId() })
		if err != nil {
			t.Errorf("follow orders: %v", err)
		}
	})
	defer running.Wait()
	defer end()
	for version, number := int64(0), 1; number <= 2; number++ {
		var err error
		version, err = records.Save(t.Context(), oona.RecordWrite{Key: oona.RecordKey{Part: "kasmina", Run: "r"}, Version: version,
			Orders: []*leyline.AdaptationCommand{anOrder(t, number)}})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := <-orders, anOrder(t, number).GetCommandId(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTrainerMayDoNothingElse(t *testing.T) {
	t.Parallel()
	server, url := withUser(t, "trainer")
	for _, stream := range []string{"oona.normal", "oona.run.r"} {
		tell(t, server, "XADD", stream, "*", "payload", "x")
		tell(t, server, "XGROUP", "CREATE", stream, "g", "0")
	}
	trainer := rawClient(t, url)
	for _, command := range []string{
		"XREADGROUP GROUP g c STREAMS oona.run.r >", "XREADGROUP GROUP g c STREAMS oona.normal >",
		"XREAD STREAMS oona.normal 0-0", "XREAD STREAMS oona.telemetry oona.run.r 0-0 0-0", "XRANGE oona.run.r - +",
		"XADD oona.run.r * payload x", "XADD oona.policy * payload x", "XADD oona.kernels.ready * payload x",
		"XADD oona.deadletter * payload x", "XDEL oona.normal 0-1", "XTRIM oona.normal MAXLEN 0", "DEL oona.normal",
		"HGETALL weatherlight:kasmina:{oona.run.r}", "HSET weatherlight:kasmina:{oona.run.r} v 1", "ZADD weatherlight:kasmina:due 1 r",
		"EVAL return(1) 0", "KEYS *", "FLUSHALL", "CONFIG GET *", "ACL LIST", "CLIENT LIST", "PUBLISH x y", "INFO",
	} {
		err := trainer.Do(t.Context(), trainer.B().Arbitrary(strings.Fields(command)...).Build()).Error()
		if err == nil || !strings.HasPrefix(err.Error(), "NOPERM") && !strings.HasPrefix(err.Error(), "This user has no permissions") {
			t.Errorf("%s: %v", command, err)
		}
	}
	c := connect(t, url, nil)
	var conflict *oona.ConflictError
	key := oona.RecordKey{Part: "kasmina", Run: "r"}
	if _, err := c.Records(orderStream).Save(t.Context(), oona.RecordWrite{Key: key}); !errors.Is(err, oona.ErrUnavailable) || errors.As(err, &conflict) {
		t.Errorf("a trainer writes a record: %v", err)
	}
}

func TestTrainerMayUseACluster(t *testing.T) {
	t.Parallel()
	server := startNode(t, 0, 16383)
	tell(t, server, append([]string{"ACL", "SETUSER"}, user(t, "trainer")[1:]...)...)
	trainer := connect(t, "redis://trainer:pw@"+server.Addr+"?cluster=true", nil)
	if err := trainer.PublishReport(t.Context(), &leyline.SystemStatePacket{PacketId: "p"}, nil); err != nil {
		t.Fatal(err)
	}
	records := connect(t, server.URL+"?cluster=true", nil).Records(orderStream)
	write := oona.RecordWrite{Key: oona.RecordKey{Part: "kasmina", Run: "r"}, Orders: []*leyline.AdaptationCommand{anOrder(t, 1)}}
	if _, err := records.Save(t.Context(), write); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithTimeout(t.Context(), soon)
	defer end()
	taken := 0
	if err := trainer.FollowOrders(ctx, orderStream("r"), func(*leyline.AdaptationCommand) { taken++; end() }); err != nil || taken != 1 {
		t.Errorf("took %d orders, %v", taken, err)
	}
}
