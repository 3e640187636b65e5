package chaos_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/chaos"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	secret  = "chaos-secret"
	group   = "chaos"
	patient = 90 * time.Second // without any progress for so long, a run is stuck
)

var streams = oona.DefaultStreams()

func keyring(t testing.TB) *signing.Keyring {
	t.Helper()
	ring, err := signing.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(options.seed, stream)) }

func connect(t testing.TB, cfg oona.Config) *oona.Client {
	t.Helper()
	cfg.Keyring = keyring(t)
	c, err := oona.Connect(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// raw connects to Redis itself, beside the bus.
func raw(t testing.TB, url string) rueidis.Client {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	option.DisableCache, option.ForceSingleClient = true, true
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func command(client rueidis.Client, words ...string) rueidis.RedisResult {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return client.Do(ctx, client.B().Arbitrary(words...).Build())
}

func length(client rueidis.Client, stream string) (int, error) {
	n, err := command(client, "XLEN", stream).AsInt64()
	return int(n), err
}

// idle reports whether the group has read and finished the whole stream.
func idle(client rueidis.Client, stream string) bool {
	groups, err := command(client, "XINFO", "GROUPS", stream).ToArray()
	if err != nil {
		return false
	}
	for _, g := range groups {
		info, _ := g.AsMap()
		name, pending, lag := info["name"], info["pending"], info["lag"]
		if text, _ := name.ToString(); text == group {
			waiting, err := pending.AsInt64()
			behind, lagErr := lag.AsInt64()
			return err == nil && lagErr == nil && waiting == 0 && behind == 0
		}
	}
	return false
}

// keys is how many blueprints a publisher asks for.
const keys = 50

// request is message number n of a publisher.
func request(publisher, n int) *leyline.KernelPrefetchRequest {
	key := strconv.Itoa(publisher) + "-" + strconv.Itoa(n%keys)
	return &leyline.KernelPrefetchRequest{
		RequestId: strconv.Itoa(publisher) + "/" + strconv.Itoa(n), BlueprintId: "BP-" + key, TrainingRunId: "chaos", IssuedAt: timestamppb.Now(),
	}
}

// messageOf names the message that an answer belongs to.
func messageOf(requestID string) chaos.Message {
	key, text, _ := strings.Cut(requestID, "/")
	n, _ := strconv.Atoi(text)
	return chaos.Message{ID: requestID, Key: key, Number: n}
}

// answerID reads the request id out of an entry of the ready stream, and
// refuses one that is not signed.
func answerID(ring *signing.Keyring, entry rueidis.XRangeEntry) (string, error) {
	payload := []byte(entry.FieldValues["payload"])
	if err := ring.VerifyEnvelope(payload, entry.FieldValues["signature"]); err != nil {
		return "", err
	}
	var envelope leyline.BusEnvelope
	var ready leyline.KernelArtifactReady
	if err := errors.Join(proto.Unmarshal(payload, &envelope), proto.Unmarshal(envelope.GetPayload(), &ready)); err != nil {
		return "", err
	}
	return ready.GetRequestId(), nil
}

// unsent returns the messages of a Publish call that were not acknowledged.
func unsent(msgs []oona.Message, err error) []oona.Message {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return msgs
	}
	var rest []oona.Message
	for _, one := range joined.Unwrap() {
		if failed, ok := errors.AsType[*oona.PublishError](one); ok {
			rest = append(rest, msgs[failed.Index])
		}
	}
	return rest
}

// pause waits, unless ctx is done before.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
