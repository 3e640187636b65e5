package main

import (
	"context"
	"fmt"

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

// ceilingStreams are those of the loop without a library.
func ceilingStreams() streams { return streams{requests: "bench.requests", ready: "bench.ready"} }

// serveCeiling answers requests as fast as the same client can carry them: it
// decodes, verifies, signs, answers and acknowledges, and looks nothing up.
func serveCeiling(ctx context.Context, url string) error {
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
		if err := answerBatch(ctx, client, keyring, ceilingStreams()); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func answerBatch(ctx context.Context, client rueidis.Client, keyring *signing.Keyring, on streams) error {
	read, err := client.Do(ctx, client.B().Xreadgroup().Group(ceilingGroup, "ceiling").Count(ceilingBatch).Block(500).
		Streams().Key(on.requests).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read requests: %w", err)
	}
	commands := make(rueidis.Commands, 0, ceilingBatch+1)
	ids := make([]string, 0, ceilingBatch)
	for _, e := range read[on.requests] {
		payload, signature, err := answer(keyring, e.FieldValues)
		if err != nil {
			return err
		}
		ids = append(ids, e.ID)
		commands = append(commands, add(client, on.ready, entry{payload, signature}))
	}
	commands = append(commands, client.B().Xack().Key(on.requests).Group(ceilingGroup).Id(ids...).Build())
	return firstError(client.DoMulti(ctx, commands...))
}

// answer makes the reply to one request from constants.
func answer(keyring *signing.Keyring, fields map[string]string) (payload, signature string, err error) {
	request := new(leyline.KernelPrefetchRequest)
	if err := open(keyring, fields, request); err != nil {
		return "", "", err
	}
	made, err := seal(keyring, &leyline.KernelArtifactReady{
		RequestId:    request.GetRequestId(),
		BlueprintId:  request.GetBlueprintId(),
		ArtifactRef:  "/var/urza/artifacts/0000000000000000000000000000000000000000000000000000000000000000.onnx",
		Checksum:     ceilingChecksum,
		GuardDigest:  ceilingChecksum,
		PrewarmP50Ms: 20,
		PrewarmP95Ms: 20,
	})
	return made.payload, made.signature, err
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

// seal encodes and signs a message.
func seal(keyring *signing.Keyring, message proto.Message) (entry, error) {
	payload, err := proto.Marshal(message)
	if err != nil {
		return entry{}, fmt.Errorf("encode payload: %w", err)
	}
	text, err := proto.Marshal(&leyline.BusEnvelope{MessageType: leyline.TypeOf(message), Payload: payload})
	if err != nil {
		return entry{}, fmt.Errorf("encode envelope: %w", err)
	}
	return entry{rueidis.BinaryString(text), keyring.SignEnvelope(text)}, nil
}

func add(client rueidis.Client, stream string, e entry) rueidis.Completed {
	return client.B().Xadd().Key(stream).Maxlen().Almost().Threshold(streamBound).Id("*").
		FieldValue().FieldValue("payload", e.payload).FieldValue("signature", e.signature).Build()
}
