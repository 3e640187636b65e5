package admission

import (
	"golang.org/x/time/rate"
)

// budget limits what may go to the emergency stream. A quarter of it is reserved
// for emergency signals: telemetry of high priority cannot use that up.
type budget struct {
	shared, reserved *rate.Limiter
	perMinute        int
}

// newBudget allows perMinute messages a minute, and as many at once;
// with 0 or less it is unlimited, which nil is too.
func newBudget(perMinute int) *budget {
	if perMinute <= 0 {
		return nil
	}
	reserved := perMinute / 4
	if reserved == 0 && perMinute > 1 {
		reserved = 1
	}
	return &budget{shared: minuteLimiter(perMinute - reserved), reserved: minuteLimiter(reserved),
		perMinute: perMinute}
}

func minuteLimiter(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(float64(n)/60), n) }

// allow takes one token: a signal from the shared part while it lasts, then
// from its own.
func (b *budget) allow(signal bool) bool {
	return b == nil || b.shared.Allow() || signal && b.reserved.Allow()
}

func (b *budget) fill(values map[string]float64) {
	if b == nil {
		return
	}
	values["emergency_tokens_remaining"] = max(0, b.shared.Tokens()) + max(0, b.reserved.Tokens())
	values["emergency_refill_rate_per_s"] = float64(b.perMinute) / 60
	values["emergency_bucket_capacity_per_min"] = float64(b.perMinute)
}
