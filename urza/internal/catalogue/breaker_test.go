package catalogue

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

func TestSlowCatalogueOpensTheBreakerAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(Config{Slow: 250 * time.Millisecond, Failures: 3, OpenFor: 30 * time.Second})
		look := func(took time.Duration) error {
			return b.guard(func() error {
				time.Sleep(took) // the bubble's clock
				return nil
			})
		}
		for range 3 {
			if err := look(300 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if err := look(0); !errors.Is(err, fault.ErrUnavailable) {
			t.Fatalf("not open: %v", err)
		}
		time.Sleep(31 * time.Second)
		err := look(0)
		if err != nil || b.lookups().Circuit != leyline.CircuitBreakerState_CIRCUIT_STATE_HALF_OPEN || !b.lookups().Conservative {
			t.Fatalf("not half open: %v, %v", err, b.lookups().Circuit)
		}
		err = look(0)
		if err != nil || b.lookups().Circuit != leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED || b.lookups().Conservative {
			t.Fatalf("not closed: %v, %v", err, b.lookups().Circuit)
		}
	})
}
