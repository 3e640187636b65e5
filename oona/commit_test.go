package oona_test

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// ask sends redis a command and returns its answer as text.
func ask(t *testing.T, server *redistest.Server, words ...string) string {
	t.Helper()
	raw := rawClient(t, server.URL)
	answer, err := raw.Do(context.Background(), raw.B().Arbitrary(words...).Build()).ToAny()
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	switch a := answer.(type) {
	case string:
		return a
	case int64:
		return strconv.FormatInt(a, 10)
	case []any:
		return strconv.Itoa(len(a))
	default:
		t.Fatalf("%v: %T", words, answer)
		return ""
	}
}

// serve answers kernel requests with the messages, and counts them.
func serve(t *testing.T, c *oona.Client, answers ...oona.Message) *atomic.Int64 {
	t.Helper()
	handled := new(atomic.Int64)
	start(t, c, oona.Subscription{Stream: oona.DefaultStreams().KernelRequests, Handlers: map[leyline.BusMessageType]oona.Handler{
		leyline.TypeOf(&leyline.KernelPrefetchRequest{}): func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			handled.Add(1)
			return answers, nil
		},
	}})
	return handled
}

func request(t *testing.T, c *oona.Client, id string) {
	t.Helper()
	if err := c.PublishKernelPrefetchRequest(t.Context(), &leyline.KernelPrefetchRequest{
		RequestId: id, IssuedAt: timestamppb.Now(),
	}); err != nil {
		t.Fatal(err)
	}
}

func ready(id string) oona.Message {
	return oona.Message{Payload: &leyline.KernelArtifactReady{RequestId: id}}
}

// The mark of a request must last for as long as a chosen entry id could make the
// same request look fresh.
func TestMarkOfARequestLastsLongerThanADay(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.FreshnessWindow = time.Minute })
	serve(t, c, ready("r"))
	request(t, c, "first")
	waitFor(t, "the answer", func() bool { return ask(t, server, "XLEN", oona.DefaultStreams().KernelReady) == "1" })
	life, err := answer(t, server, "PTTL", "oona:replay:g:request:first").AsInt64()
	if err != nil || time.Duration(life)*time.Millisecond < 24*time.Hour {
		t.Errorf("lives for %d ms, %v", life, err)
	}
}

func TestAnswersAreNotRepeatedWhenAGroupIsLost(t *testing.T) {
	t.Parallel()
	server, streams := redistest.Start(t), oona.DefaultStreams()
	c := connect(t, server.URL, nil)
	handled := serve(t, c, ready("r"))
	request(t, c, "first")
	waitFor(t, "the first answer", func() bool { return ask(t, server, "XLEN", streams.KernelReady) == "1" })
	tell(t, server, "XGROUP", "DESTROY", streams.KernelRequests, "g")
	request(t, c, "second")
	waitFor(t, "the second answer", func() bool { return handled.Load() >= 2 })
	waitFor(t, "nothing is pending", func() bool {
		return ask(t, server, "XLEN", streams.KernelReady) == "2" && pendingOf(t, server, streams.KernelRequests) == "0"
	})
	if n := handled.Load(); n != 2 {
		t.Errorf("%d requests were handled, want 2: one was answered before its group was lost", n)
	}
}

// pendingOf returns how many entries of a stream the group has not acknowledged.
func pendingOf(t *testing.T, server *redistest.Server, stream string) string {
	t.Helper()
	return ask(t, server, "XPENDING", stream, "g", "-", "+", "1000")
}

func TestBrokenAnswerStreamDoesNotRepeatTheOtherAnswers(t *testing.T) {
	t.Parallel()
	server, streams := redistest.Start(t), oona.DefaultStreams()
	tell(t, server, "SET", streams.KernelErrors, "no stream")
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.RetryBackoff = time.Millisecond })
	handled := serve(t, c, ready("r"), oona.Message{Payload: &leyline.KernelArtifactError{RequestId: "r"}})
	request(t, c, "r")
	waitFor(t, "three attempts", func() bool { return handled.Load() >= 3 })
	if n := ask(t, server, "XLEN", streams.KernelReady); n != "0" {
		t.Errorf("%s of the other answers were published", n)
	}
	tell(t, server, "DEL", streams.KernelErrors)
	waitFor(t, "both answers", func() bool {
		return ask(t, server, "XLEN", streams.KernelReady) == "1" && ask(t, server, "XLEN", streams.KernelErrors) == "1"
	})
}

func TestKeyInTheWayOfAMarkLosesNoRequestInSilence(t *testing.T) {
	t.Parallel()
	server, streams := redistest.Start(t), oona.DefaultStreams()
	tell(t, server, "RPUSH", "oona:replay:g:request:r", "no mark")
	c := connect(t, server.URL, nil)
	serve(t, c, ready("r"))
	request(t, c, "r")
	waitFor(t, "the request is a dead letter", func() bool { return ask(t, server, "XLEN", "oona.deadletter") == "1" })
	waitFor(t, "the next request is answered", func() bool {
		request(t, c, "next")
		return ask(t, server, "XLEN", streams.KernelReady) != "0"
	})
}

func TestRefusalsReachADistantClusterInTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-require-full-coverage", "no")
	proxy, err := faultproxy.Start(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	_, port, _ := strings.Cut(proxy.Addr(), ":")
	tell(t, server, "CONFIG", "SET", "cluster-announce-port", port)
	tell(t, server, "CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
	tell(t, server, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	awaitCluster(t, server)
	c := connect(t, "redis://"+proxy.Addr()+"/0?cluster=true", func(cfg *oona.Config) { cfg.DialTimeout = 2 * time.Second })
	const junk = 60
	for range junk {
		tell(t, server, "XADD", "oona.normal", "*", "payload", "junk", "signature", "x")
	}
	proxy.Set(faultproxy.Fault{Delay: 20 * time.Millisecond}) // each way; one entry after the other would outlast a commit
	receive(t, c)
	waitFor(t, "all refusals are dead letters", func() bool {
		return ask(t, server, "XLEN", "oona.deadletter") == strconv.Itoa(junk) && pendingOf(t, server, "oona.normal") == "0"
	})
}

// emergencies counts handled emergency signals.
func emergencies(t *testing.T, c *oona.Client) *atomic.Int64 {
	t.Helper()
	handled := new(atomic.Int64)
	start(t, c, oona.Subscription{Stream: oona.DefaultStreams().Emergency, Handlers: map[leyline.BusMessageType]oona.Handler{
		leyline.TypeOf(&leyline.EmergencySignal{}): func(context.Context, *oona.Delivery) ([]oona.Message, error) {
			handled.Add(1)
			return nil, nil
		},
	}})
	return handled
}

func TestEntryFromTheFutureDoesNotMakeSignalsStale(t *testing.T) {
	t.Parallel()
	server, streams := redistest.Start(t), oona.DefaultStreams()
	later := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)
	tell(t, server, "XADD", streams.Emergency, later+"-0", "payload", "junk", "signature", "x")
	c := connect(t, server.URL, nil)
	handled := emergencies(t, c)
	if err := c.Publish(t.Context(), oona.Message{Payload: &leyline.EmergencySignal{Origin: "o"}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the signal is handled", func() bool { return handled.Load() == 1 })
}
