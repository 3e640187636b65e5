package oona_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// A batch is encoded on several processors; nobody may notice.
func TestLargeBatchKeepsItsOrderAroundARefusedMessage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.MaxPayload = 1000 })
	const n, tooLarge = 500, 333
	msgs := make([]oona.Message, n)
	for i := range msgs {
		msgs[i].Payload = &leyline.SystemStatePacket{PacketId: strconv.Itoa(i)}
	}
	msgs[tooLarge].Payload = &leyline.SystemStatePacket{PacketId: strings.Repeat("x", 2000)}
	err := c.Publish(context.Background(), msgs...)
	if refused, ok := errors.AsType[*oona.PublishError](err); !ok || refused.Index != tooLarge {
		t.Errorf("error = %v", err)
	}
	next := 0
	for _, id := range storedStates(t, server.URL) {
		if next == tooLarge {
			next++
		}
		if id != strconv.Itoa(next) {
			t.Fatalf("state %s is stored where %d should be", id, next)
		}
		next++
	}
	if next != n {
		t.Errorf("stored up to %d of %d", next, n)
	}
}

// storedStates reads the ids of the states on the normal stream and checks their
// signatures.
func storedStates(t *testing.T, url string) []string {
	t.Helper()
	raw := rawClient(t, url)
	entries, err := raw.Do(context.Background(), raw.B().Xrange().Key("oona.normal").Start("-").End("+").Build()).AsXRange()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range entries {
		text := []byte(e.FieldValues["payload"])
		if err := keyring(t).VerifyEnvelope(text, e.FieldValues["signature"]); err != nil {
			t.Fatal(err)
		}
		envelope, state := new(leyline.BusEnvelope), new(leyline.SystemStatePacket)
		if err := errors.Join(proto.Unmarshal(text, envelope), proto.Unmarshal(envelope.GetPayload(), state)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, state.GetPacketId())
	}
	return ids
}

func TestTextThatNoReaderTakesIsRefusedToItsAuthor(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, nil)
	state := func(id string) *leyline.SystemStatePacket { return &leyline.SystemStatePacket{PacketId: id} }
	for name, m := range map[string]oona.Message{
		"payload":   {Payload: state("\xff")},
		"attribute": {Payload: state("a"), Attributes: map[string]string{"k": "\xff"}},
		"name":      {Payload: state("b"), Once: "\xff"},
	} {
		if err := c.Publish(t.Context(), m); !errors.Is(err, oona.ErrNotPublishable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if stored := storedStates(t, server.URL); len(stored) != 0 {
		t.Errorf("stored %v", stored)
	}
}

func TestPublishToManyStreamsOfAFrozenBusIsBounded(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const bound = 2 * time.Second
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.DialTimeout = bound })
	var msgs []oona.Message
	for _, stream := range oona.DefaultStreams().Names() {
		msgs = append(msgs, oona.Message{Stream: stream, Payload: &leyline.SystemStatePacket{PacketId: "x"}})
	}
	server.Freeze()
	t.Cleanup(server.Thaw)
	begun := time.Now()
	err := c.Publish(t.Context(), msgs...)
	if took := time.Since(begun); !errors.Is(err, oona.ErrUnavailable) || took > soon {
		t.Errorf("%v after %v", err, took)
	}
}

func TestRefusedMessageTellsItsStream(t *testing.T) {
	server := redistest.Start(t)
	c := connect(t, server.URL, func(cfg *oona.Config) { cfg.MaxPayload = 1000 })
	err := c.Publish(t.Context(), oona.Message{
		Stream: "oona.normal", Payload: &leyline.SystemStatePacket{PacketId: strings.Repeat("x", 2000)},
	})
	if refused, ok := errors.AsType[*oona.PublishError](err); !ok || refused.Stream != "oona.normal" {
		t.Errorf("error = %v", err)
	}
}
