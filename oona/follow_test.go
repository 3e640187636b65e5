package oona_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/faultproxy"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func TestOrdersAreFollowedThroughOutages(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cut   bool
		fault faultproxy.Fault
	}{
		"connections cut":         {cut: true},
		"connections refused":     {cut: true, fault: faultproxy.Fault{Refuse: true}},
		"peer gone in silence":    {fault: faultproxy.Fault{HalfOpen: true}},
		"everything stands still": {fault: faultproxy.Fault{Freeze: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, proxy, url := throughProxy(t)
			records := connect(t, server.URL, nil).Records(orderStream)
			follower := connect(t, url, nil)
			ctx, end := context.WithCancel(t.Context())
			orders := make(chan string, 100)
			var running sync.WaitGroup
			running.Go(func() {
				err := follower.FollowOrders(ctx, orderStream("r"), func(o *leyline.AdaptationCommand) { orders <- o.GetCommandId() })
				if err != nil {
					t.Errorf("follow orders: %v", err)
				}
			})
			defer running.Wait()
			defer end()
			var version int64
			issue := func(number int) {
				t.Helper()
				var err error
				version, err = records.Save(t.Context(), oona.RecordWrite{Key: oona.RecordKey{Part: "kasmina", Run: "r"},
					Version: version, Orders: []*leyline.AdaptationCommand{anOrder(t, number)}})
				if err != nil {
					t.Fatal(err)
				}
			}
			issue(1)
			if got := <-orders; got != "order-1" {
				t.Fatalf("got %s", got)
			}
			proxy.Set(test.fault)
			if test.cut {
				proxy.Cut()
			}
			issue(2)
			<-time.After(200 * time.Millisecond) // what the server says meanwhile meets the fault
			proxy.Set(faultproxy.Fault{})
			waitFor(t, "the order that was issued meanwhile", func() bool {
				select {
				case got := <-orders:
					return got == "order-2"
				default:
					return false
				}
			})
		})
	}
}
