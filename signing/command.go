package signing

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// SignatureAnnotation is the annotation of an AdaptationCommand that holds its
// signature. It is the only part of a command that its signature does not cover.
const SignatureAnnotation = "signature"

var (
	// ErrNoCommand is returned when there is no command to sign.
	ErrNoCommand = errors.New("no command")
	// ErrEnvelopeForm is returned for a command that says so little that its signature would
	// be that of an envelope.
	ErrEnvelopeForm = errors.New("command has the form of an envelope")
)

// SignCommand sets cmd's signature annotation. Everything else in the command
// is covered, so nothing may be changed afterwards. The identifier and the time
// of issue are the caller's to set before.
func (k *Keyring) SignCommand(cmd *leyline.AdaptationCommand) error {
	signed, err := CommandBytes(cmd)
	if err != nil {
		return fmt.Errorf("sign command: %w", err)
	}
	if FormOf(signed) == FormEnvelope {
		return fmt.Errorf("sign command: %w", ErrEnvelopeForm)
	}
	if cmd.Annotations == nil {
		cmd.Annotations = make(map[string]string, 1)
	}
	cmd.Annotations[SignatureAnnotation] = k.sign(signed)
	return nil
}

// VerifyCommand checks cmd's signature annotation and never changes cmd. It
// returns nil, ErrMissingSignature or ErrInvalidSignature.
func (k *Keyring) VerifyCommand(cmd *leyline.AdaptationCommand) error {
	signature := cmd.GetAnnotations()[SignatureAnnotation]
	if signature == "" {
		return ErrMissingSignature
	}
	signed, err := CommandBytes(cmd)
	if err != nil || FormOf(signed) == FormEnvelope {
		return ErrInvalidSignature
	}
	return k.verify(signed, signature)
}

// CommandBytes returns the bytes that a command's signature covers: its
// deterministic serialisation without the signature annotation.
//
// Python writes fields in ascending number, so the payload (10 to 13) comes
// before the annotations (20). Go's deterministic marshal writes the members of
// a oneof after all other fields. Three marshals put together in the order of
// the field numbers give Python's bytes.
func CommandBytes(cmd *leyline.AdaptationCommand) ([]byte, error) {
	if cmd == nil {
		return nil, ErrNoCommand
	}
	options := proto.MarshalOptions{Deterministic: true}
	var signed []byte
	for _, part := range commandParts(cmd) {
		var err error
		if signed, err = options.MarshalAppend(signed, part); err != nil {
			return nil, fmt.Errorf("serialise command: %w", err)
		}
	}
	return append(signed, cmd.ProtoReflect().GetUnknown()...), nil
}

// commandParts splits cmd into its scalar fields, its payload and its
// annotations without the signature, in the order of their field numbers. The
// parts share cmd's messages and must not be changed.
func commandParts(cmd *leyline.AdaptationCommand) []*leyline.AdaptationCommand {
	annotations := make(map[string]string, len(cmd.Annotations))
	for name, text := range cmd.Annotations {
		if name != SignatureAnnotation {
			annotations[name] = text
		}
	}
	return []*leyline.AdaptationCommand{
		{
			Version:             cmd.Version,
			CommandId:           cmd.CommandId,
			CommandType:         cmd.CommandType,
			TargetSeedId:        cmd.TargetSeedId,
			ExecutionDeadlineMs: cmd.ExecutionDeadlineMs,
			IssuedAt:            cmd.IssuedAt,
			IssuedBy:            cmd.IssuedBy,
		},
		{Payload: cmd.Payload},
		{Annotations: annotations},
	}
}
