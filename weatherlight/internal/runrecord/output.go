package runrecord

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Output is a message that was decided on and is to be published. It is kept
// unsigned: who publishes it signs it.
type Output struct {
	Payload    proto.Message
	Attributes map[string]string
	Once       string // names the output for good, so that publishing it twice is harmless
}

// storedOutput is an Output as it lies in a record.
type storedOutput struct {
	Type       string            `json:"type"`
	Payload    []byte            `json:"payload"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Once       string            `json:"once,omitempty"`
}

func encodeOutputs(outputs []Output) ([]byte, error) {
	if len(outputs) == 0 {
		return nil, nil
	}
	stored := make([]storedOutput, len(outputs))
	for i, output := range outputs {
		payload, err := proto.Marshal(output.Payload)
		if err != nil {
			return nil, err
		}
		stored[i] = storedOutput{
			Type: string(proto.MessageName(output.Payload)), Payload: payload,
			Attributes: output.Attributes, Once: output.Once,
		}
	}
	return json.Marshal(stored)
}

func decodeOutputs(text []byte) ([]Output, error) {
	var stored []storedOutput
	if err := json.Unmarshal(text, &stored); err != nil {
		return nil, err
	}
	outputs := make([]Output, len(stored))
	for i, s := range stored {
		kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(s.Type))
		if err != nil {
			return nil, fmt.Errorf("output of type %.64q: %w", s.Type, err)
		}
		payload := kind.New().Interface()
		if err := proto.Unmarshal(s.Payload, payload); err != nil {
			return nil, fmt.Errorf("output of type %s: %w", s.Type, err)
		}
		outputs[i] = Output{Payload: payload, Attributes: s.Attributes, Once: s.Once}
	}
	return outputs, nil
}
