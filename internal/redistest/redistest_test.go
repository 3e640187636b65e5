package redistest

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestServerOfAnotherTestIsNotTakenForOurs: the port that was free a moment ago
// may be somebody else's by the time that the server wants it.
func TestServerOfAnotherTestIsNotTakenForOurs(t *testing.T) {
	another := Start(t)
	s := &Server{t: t, dir: t.TempDir()}
	t.Cleanup(s.Stop)
	tries := 0
	s.launch(func() {
		s.Addr = freeport.Must(t)
		if tries++; tries == 1 {
			s.Addr = another.Addr
		}
	})
	if tries < 2 || s.Addr == another.Addr {
		t.Errorf("after %d tries the server is the other one, on %s", tries, s.Addr)
	}
	s.Restart()
	if !s.answers() {
		t.Error("the server does not answer after a restart")
	}
}
