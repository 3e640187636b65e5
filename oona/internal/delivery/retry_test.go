package delivery

import (
	"testing"
	"time"
)

func TestRetryPauseDoublesAndStaysBelowTheClaimTime(t *testing.T) {
	t.Parallel()
	cfg := Config{RetryBackoff: 250 * time.Millisecond, ClaimIdle: time.Minute}
	for attempts, want := range map[int]time.Duration{
		1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 3: time.Second, 8: 30 * time.Second, 1000: 30 * time.Second,
	} {
		if got := retryPause(&cfg, attempts); got != want {
			t.Errorf("pause after %d attempts = %v, want %v", attempts, got, want)
		}
	}
	cfg.ClaimIdle = time.Second
	if got := retryPause(&cfg, 9); got != 500*time.Millisecond {
		t.Errorf("pause = %v: another consumer would take the entry over", got)
	}
}
