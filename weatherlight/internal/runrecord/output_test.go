package runrecord

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/leyline"
)

// FuzzOutputs: whatever lies in a record makes nothing fail but its reading, and what
// is read is what is stored again.
func FuzzOutputs(f *testing.F) {
	text, err := encodeOutputs([]Output{
		{Payload: &leyline.FieldReport{ReportId: "r"}, Once: "once"},
		{Payload: &leyline.KernelPrefetchRequest{RequestId: "q"}, Attributes: map[string]string{"slot": "[4]"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(text), "", "[]", "null", `[{"type":"esper.leyline.v1.FieldReport"}]`, `[{"type":"x","payload":"AA=="}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		outputs, err := decodeOutputs(text)
		if err != nil {
			return
		}
		again, err := encodeOutputs(outputs)
		if err != nil || len(outputs) == 0 {
			if err != nil {
				t.Error(err)
			}
			return
		}
		read, err := decodeOutputs(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(outputs, read, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})
}
