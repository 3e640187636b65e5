package signing_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// R40: the signature of a command passed as that of an envelope. Whatever a command says,
// its bytes are an envelope's only where it is neither signed nor taken.
func TestR40NoBytesAreSignedAsCommandAndAsEnvelope(t *testing.T) {
	t.Parallel()
	ring := newKeyring(t, "secret")
	rapid.Check(t, func(t *rapid.T) {
		cmd := &leyline.AdaptationCommand{
			Version:     rapid.Uint32Range(0, 2).Draw(t, "version"),
			CommandId:   rapid.StringN(0, 8, -1).Draw(t, "id"),
			CommandType: leyline.CommandType(rapid.Int32Range(0, 2).Draw(t, "type")),
			IssuedBy:    rapid.SampledFrom([]string{"", "tamiyo"}).Draw(t, "issuer"),
		}
		if rapid.Bool().Draw(t, "dated") {
			cmd.IssuedAt = &timestamppb.Timestamp{Seconds: 1}
		}
		if rapid.Bool().Draw(t, "attributes of an envelope") {
			cmd.ProtoReflect().SetUnknown([]byte{0x1a, 4, 0x0a, 0, 0x12, 0})
		}
		raw, err := signing.CommandBytes(cmd)
		if err != nil {
			t.Fatal(err)
		}
		form := signing.FormOf(raw)
		err = ring.SignCommand(cmd)
		if refused := errors.Is(err, signing.ErrEnvelopeForm); refused != (form == signing.FormEnvelope) {
			t.Fatalf("%x has the form %d, and signing it: %v", raw, form, err)
		}
		// Taken is what nobody here would have signed, by somebody who could.
		cmd.Annotations = map[string]string{signing.SignatureAnnotation: ring.SignEnvelope(raw)}
		if taken := ring.VerifyCommand(cmd) == nil; taken != (form != signing.FormEnvelope) {
			t.Fatalf("%x has the form %d, and is taken: %v", raw, form, taken)
		}
	})
}

func TestR40EveryEnvelopeHasTheFormOfOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw, err := proto.Marshal(&leyline.BusEnvelope{
			MessageType: leyline.BusMessageType(rapid.Int32Range(1, 13).Draw(t, "type")),
			Payload:     rapid.SliceOf(rapid.Byte()).Draw(t, "payload"),
			Attributes:  rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "attributes"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if form := signing.FormOf(raw); form != signing.FormEnvelope {
			t.Fatalf("%x has the form %d", raw, form)
		}
	})
}
