package oona_test

import (
	"context"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona/embedded"
	"github.com/esper-lite/weatherlight/oona/oonatest"
)

func TestMain(m *testing.M) {
	// The client library puts off asking a cluster for its nodes again, by a
	// goroutine that ends by itself a second later, whatever was closed meanwhile.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

func TestRedis(t *testing.T) {
	t.Parallel()
	features := oonatest.Features{AnswersOnce: true, Durable: true, GuardedClaim: true, CountsLag: true, TellsIdle: true, Skips: true}
	oonatest.Run(t, features, func(t *testing.T) oonatest.Server {
		server := redistest.Start(t, redistest.AOF()...)
		return oonatest.Server{URL: server.URL, Restart: server.Restart}
	})
}

func TestEmbeddedBroker(t *testing.T) {
	t.Parallel()
	oonatest.Run(t, oonatest.Features{AnswersOnce: true}, func(t *testing.T) oonatest.Server {
		b, err := embedded.Start(embedded.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var clock sync.WaitGroup
		clock.Go(func() { _ = b.Run(ctx) })
		t.Cleanup(func() {
			stop()
			clock.Wait()
			b.Close()
		})
		return oonatest.Server{URL: b.URL()}
	})
}
