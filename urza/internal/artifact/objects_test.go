package artifact

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// Whoever waits for a store tries again after half a second at most, and is to notice within
// 2 s that it is back, with all that has queued up done by then.
func TestTryOfAStoreThatIsAwayIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newObjects(Config{URL: "s3://bucket/prefix?endpoint=http://store.example", AccessKey: "key", SecretKey: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		s.transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
		for range 20 {
			begun := time.Now()
			if err := s.put(t.Context(), s.url("prefix/object"), []byte("content")); !errors.Is(err, fault.ErrUnavailable) {
				t.Fatalf("put: %v", err)
			}
			if took := time.Since(begun); took > 650*time.Millisecond {
				t.Fatalf("a try took %v", took)
			}
		}
	})
}
