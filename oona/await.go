package oona

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// awaitSign is the key that stands while a part waits for answers.
func awaitSign(part string) string { return "weatherlight:" + part + ":awaits" }

// Await says to everybody on the bus that a part waits for answers, for a while. It
// is said before the question is asked.
func (r *Records) Await(ctx context.Context, part string, patience time.Duration) error {
	ms := strconv.FormatInt(max(patience.Milliseconds(), 1), 10)
	if _, err := r.run(ctx, awaitScript, []string{awaitSign(part)}, []string{ms}); err != nil {
		return fmt.Errorf("await answers to %s: %w", part, err)
	}
	return nil
}

// Awaited says whether a part waits for answers, in whatever process.
func (r *Records) Awaited(ctx context.Context, part string) (bool, error) {
	awaited, err := redis.Insist(ctx, r.c.conn, func(ctx context.Context) (int64, error) {
		return r.c.conn.Do(ctx, r.c.conn.B().Exists().Key(awaitSign(part)).Build()).AsInt64()
	})
	if err != nil {
		return false, fmt.Errorf("look whether %s awaits answers: %w", part, err)
	}
	return awaited > 0, nil
}
