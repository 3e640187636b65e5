package weatherlight

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func TestMessageOfAnotherTypeIsNotRetried(t *testing.T) {
	calls := 0
	handler := typed(func(context.Context, *leyline.EmergencySignal) ([]oona.Message, error) {
		calls++
		return nil, errBroken
	})
	for _, payload := range []*oona.Delivery{{}, {Payload: &leyline.TelemetryPacket{}}} {
		_, err := handler(t.Context(), payload)
		if err == nil || calls != 0 {
			t.Errorf("payload %T reached the handler", payload.Payload)
		}
		if permanent := oona.Permanent(errBroken); reflect.TypeOf(err) != reflect.TypeOf(permanent) {
			t.Errorf("%v would be retried", err)
		}
	}
	if _, err := handler(t.Context(), &oona.Delivery{Payload: &leyline.EmergencySignal{}}); !errors.Is(err, errBroken) || calls != 1 {
		t.Errorf("the right payload: %v, %d calls", err, calls)
	}
}
