package cadence

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

type plain struct{}

func (plain) Until(period time.Duration) time.Duration { return period }

func TestEveryWaitsFirstAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute+30*time.Second)
		defer cancel()
		begun, done := time.Now(), 0
		Every(ctx, plain{}, time.Minute, func(context.Context) { done++ })
		if took := time.Since(begun); done != 3 || took != 3*time.Minute+30*time.Second {
			t.Errorf("done %d times in %s", done, took)
		}
	})
}

func TestSleepSaysWhetherItSleptThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if !Sleep(t.Context(), time.Hour) {
			t.Error("woken before its time")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if Sleep(ctx, time.Hour) {
			t.Error("slept on after the end")
		}
	})
}
