package cadence

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestPhaseOfOneNameFallsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, period := range []time.Duration{500 * time.Millisecond, time.Second, 5 * time.Second, time.Minute} {
			first, second := PhaseOf("weatherlight-a").NewTimer(period), PhaseOf("weatherlight-a").NewTimer(period)
			<-first.C
			at := time.Now()
			<-second.C
			if apart := time.Since(at); apart != 0 {
				t.Errorf("two beats of %v are %v apart", period, apart)
			}
			first.Again()
			<-first.C
			if apart := time.Since(at); apart != period {
				t.Errorf("the next beat of %v came after %v", period, apart)
			}
			if wait := PhaseOf("weatherlight-a").Until(10 * period); wait%period != 0 {
				t.Errorf("a beat of %v is %v away from one of %v", 10*period, wait, period)
			}
		}
	})
}

func TestInstancesDoNotBeatAllAtOnce(t *testing.T) {
	const period, instances = 500 * time.Millisecond, 64
	synctest.Test(t, func(t *testing.T) {
		var tenths [10]int
		for i := range instances {
			wait := PhaseOf(fmt.Sprint("weatherlight-", i)).Until(period) % period
			tenths[wait*10/period]++
		}
		for i, n := range tenths {
			if n == 0 || n > instances/4 {
				t.Errorf("%d of %d instances beat in tenth %d of the period", n, instances, i)
			}
		}
	})
}

func TestBeatThatIsNearIsTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const period = time.Second
		phase := PhaseOf("weatherlight-a")
		time.Sleep(phase.Until(period) - time.Millisecond) // a timer that went off early
		if wait := phase.Until(period); wait != period+time.Millisecond {
			t.Errorf("the next beat is %v away, want %v", wait, period+time.Millisecond)
		}
	})
}
