package leyline_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestEveryBusTypeHasItsPayload(t *testing.T) {
	t.Parallel()
	payloads := 0
	for number := range leyline.BusMessageType_name {
		busType := leyline.BusMessageType(number)
		message := leyline.NewMessage(busType)
		if busType == leyline.BusMessageType_BUS_MESSAGE_TYPE_UNSPECIFIED {
			if message != nil {
				t.Errorf("unspecified type has payload %T", message)
			}
			continue
		}
		payloads++
		if got := leyline.TypeOf(message); got != busType {
			t.Errorf("TypeOf(NewMessage(%v)) = %v", busType, got)
		}
	}
	if payloads != 13 {
		t.Errorf("%d payload types, want 13", payloads)
	}
	if got := leyline.TypeOf(new(leyline.BusEnvelope)); got != leyline.BusMessageType_BUS_MESSAGE_TYPE_UNSPECIFIED {
		t.Errorf("an envelope is no payload, got %v", got)
	}
}

func TestContractHasNothingAddedOrRenumbered(t *testing.T) {
	t.Parallel()
	file := leyline.File_esper_leyline_v1_leyline_proto
	if file.Package() != "esper.leyline.v1" || file.Syntax() != protoreflect.Proto3 {
		t.Errorf("package %s, syntax %v", file.Package(), file.Syntax())
	}
	if enums, messages := file.Enums().Len(), file.Messages().Len(); enums != 17 || messages != 33 {
		t.Errorf("%d enums and %d messages, want 17 and 33", enums, messages)
	}
	fields := 0
	for i := range file.Messages().Len() {
		fields += file.Messages().Get(i).Fields().Len()
	}
	if fields != wantFields {
		t.Errorf("%d fields, want %d", fields, wantFields)
	}
}

// wantFields is the number of fields of the published contract.
const wantFields = 208

func TestUnknownFieldsSurvive(t *testing.T) {
	t.Parallel()
	wire := []byte{0x08, 0x06, 0xa0, 0x06, 0x01}
	var envelope leyline.BusEnvelope
	if err := proto.Unmarshal(wire, &envelope); err != nil {
		t.Fatalf("Unmarshal: %v", err)
	}
	if len(envelope.ProtoReflect().GetUnknown()) == 0 {
		t.Error("an unknown field of a newer peer was dropped")
	}
}
