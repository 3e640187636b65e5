package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	ceilingGroup = "bench"
	ceilingBatch = 100
	// streamBound is that of the streams in every peer.
	streamBound = "10000"
)

// ceilingStreams are those of a loop without a library.
func ceilingStreams(column string) streams {
	return streams{requests: "bench.requests." + column, ready: "bench.ready." + column}
}

// answered is an entry with its answer.
type answered struct {
	id, request string
	entry
}

// promise is how a loop keeps its word: it seals an answer for its stream, and publishes the
// answers to a batch and acknowledges it.
type promise struct {
	seal   func(keyring *signing.Keyring, message proto.Message, stream string) (entry, error)
	finish func(ctx context.Context, client rueidis.Client, on streams, batch []answered) error
}

// promises are those of the loops, by their columns.
func promises() map[string]promise {
	return map[string]promise{
		ceiling: {func(k *signing.Keyring, m proto.Message, _ string) (entry, error) { return seal(k, m, nil) }, finishPlainly},
		// An answer of ours is good on its stream alone, for a while, and once.
		ceilingOnce: {sealBound, finishOnce},
	}
}

// serveCeiling answers requests as fast as the same client can carry them: it
// decodes, verifies, signs, answers and acknowledges, and looks nothing up.
func serveCeiling(ctx context.Context, url, column string) error {
	word, known := promises()[column]
	if !known {
		return fmt.Errorf("no ceiling %q", column)
	}
	keyring, err := signing.NewKeyring(secret)
	if err != nil {
		return err
	}
	client, err := connect(url)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		if err := answerBatch(ctx, client, keyring, ceilingStreams(column), word); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func answerBatch(ctx context.Context, client rueidis.Client, keyring *signing.Keyring, on streams, word promise) error {
	read, err := client.Do(ctx, client.B().Xreadgroup().Group(ceilingGroup, "ceiling").Count(ceilingBatch).Block(500).
		Streams().Key(on.requests).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read requests: %w", err)
	}
	batch := make([]answered, 0, ceilingBatch)
	for _, e := range read[on.requests] {
		made, err := answer(keyring, e.FieldValues, on.ready, word)
		if err != nil {
			return err
		}
		made.id = e.ID
		batch = append(batch, made)
	}
	return word.finish(ctx, client, on, batch)
}

// finishPlainly does so in commands of which each stands for itself: a request may be answered
// twice, or not at all.
func finishPlainly(ctx context.Context, client rueidis.Client, on streams, batch []answered) error {
	commands := make(rueidis.Commands, 0, len(batch)+1)
	ids := make([]string, 0, len(batch))
	for _, a := range batch {
		ids = append(ids, a.id)
		commands = append(commands, add(client, on.ready, a.entry))
	}
	commands = append(commands, client.B().Xack().Key(on.requests).Group(ceilingGroup).Id(ids...).Build())
	return firstError(client.DoMulti(ctx, commands...))
}

// answer makes the reply to one request from constants.
func answer(keyring *signing.Keyring, fields map[string]string, ready string, word promise) (answered, error) {
	request := new(leyline.KernelPrefetchRequest)
	if err := open(keyring, fields, request); err != nil {
		return answered{}, err
	}
	made, err := word.seal(keyring, &leyline.KernelArtifactReady{
		RequestId:    request.GetRequestId(),
		BlueprintId:  request.GetBlueprintId(),
		ArtifactRef:  "/var/urza/artifacts/0000000000000000000000000000000000000000000000000000000000000000.onnx",
		Checksum:     ceilingChecksum,
		GuardDigest:  ceilingChecksum,
		PrewarmP50Ms: 20,
		PrewarmP95Ms: 20,
	}, ready)
	return answered{request: request.GetRequestId(), entry: made}, err
}

const ceilingChecksum = "0000000000000000000000000000000000000000000000000000000000000000"

// open verifies an entry and decodes its payload.
func open(keyring *signing.Keyring, fields map[string]string, into proto.Message) error {
	text := []byte(fields["payload"])
	if err := keyring.VerifyEnvelope(text, fields["signature"]); err != nil {
		return fmt.Errorf("verify entry: %w", err)
	}
	envelope := new(leyline.BusEnvelope)
	if err := proto.Unmarshal(text, envelope); err != nil {
		return fmt.Errorf("decode envelope: %w", err)
	}
	if want := leyline.TypeOf(into); envelope.GetMessageType() != want {
		return fmt.Errorf("entry is %s, want %s", envelope.GetMessageType(), want)
	}
	if err := proto.Unmarshal(envelope.GetPayload(), into); err != nil {
		return fmt.Errorf("decode payload: %w", err)
	}
	return nil
}

// entry holds the fields of one stream entry.
type entry struct {
	payload, signature string
}

// bound are the attributes that keep an entry from being taken for another elsewhere or later:
// the same as in ours.
func bound(keyring *signing.Keyring, stream string) map[string]string {
	return map[string]string{
		"key_id": keyring.KeyID(), "stream": stream, "issued_at_ms": strconv.FormatInt(time.Now().UnixMilli(), 10),
		"nonce": strconv.FormatUint(rand.Uint64(), 16) + strconv.FormatUint(rand.Uint64(), 16),
	}
}

// sealBound encodes and signs a message that is good on one stream, for a while, and once.
func sealBound(keyring *signing.Keyring, message proto.Message, stream string) (entry, error) {
	return seal(keyring, message, bound(keyring, stream))
}

// seal encodes and signs a message with attributes.
func seal(keyring *signing.Keyring, message proto.Message, attributes map[string]string) (entry, error) {
	payload, err := proto.Marshal(message)
	if err != nil {
		return entry{}, fmt.Errorf("encode payload: %w", err)
	}
	text, err := proto.Marshal(&leyline.BusEnvelope{MessageType: leyline.TypeOf(message), Payload: payload, Attributes: attributes})
	if err != nil {
		return entry{}, fmt.Errorf("encode envelope: %w", err)
	}
	return entry{rueidis.BinaryString(text), keyring.SignEnvelope(text)}, nil
}

func add(client rueidis.Client, stream string, e entry) rueidis.Completed {
	return client.B().Xadd().Key(stream).Maxlen().Almost().Threshold(streamBound).Id("*").
		FieldValue().FieldValue("payload", e.payload).FieldValue("signature", e.signature).Build()
}
