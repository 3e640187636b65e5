package embedded_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/oona/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMarksExpireOnTheEmbeddedBroker(t *testing.T) {
	t.Parallel()
	b, err := embedded.Start(embedded.Config{Tick: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	option := rueidis.MustParseURL(b.URL())
	option.DisableCache = true
	client, err := rueidis.NewClient(option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ctx, stop := context.WithCancel(context.Background())
	var clock sync.WaitGroup
	clock.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer clock.Wait()
	defer stop()
	if err := client.Do(ctx, client.B().Set().Key("mark").Value("1").PxMilliseconds(50).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-poll.C {
		err := client.Do(ctx, client.B().Get().Key("mark").Build()).Error()
		if rueidis.IsRedisNil(err) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the key did not expire: %v", err)
		}
	}
}

func TestPortInUseIsToldWithItsAddress(t *testing.T) {
	t.Parallel()
	b, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	defer b.Close()
	if _, err := embedded.Start(embedded.Config{Port: b.Port()}); err == nil {
		t.Fatal("two brokers share one port")
	}
}
