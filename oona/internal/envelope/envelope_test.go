package envelope

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

func FuzzDecodeEnvelope(f *testing.F) {
	for _, seed := range []string{
		"080612210a057265712d31120442502d311a0572756e2d31220b0880e2cfaa0610c0a9d33a",
		"0801120208011a0c0a07617474656d7074120131",
		"1a020a00", "1a0412020a00", "0b0c", "08ffffffffffffffffff01", "1a050a01ff1200", "1200", "ffffff",
	} {
		raw, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Decode(raw, string(raw))
		var want leyline.BusEnvelope
		wantErr := proto.Unmarshal(raw, &want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, protobuf says %v", err, wantErr)
		}
		if err != nil {
			return
		}
		equal := got.Kind == want.GetMessageType() && string(got.Payload) == string(want.GetPayload()) &&
			cmp.Equal(got.All(), want.GetAttributes(), cmpopts.EquateEmpty())
		if !equal {
			t.Fatalf("got %+v, protobuf says %v", got, &want)
		}
	})
}
