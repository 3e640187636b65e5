package oona

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// silentPeer is a watched connection whose peer takes everything and says
// nothing until it is told to.
func silentPeer(t *testing.T, answers func() bool) (*watched, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	d := newDialer("tcp", time.Minute)
	w := newWatched(d, near, answers)
	go func() {
		for buffer := make([]byte, 100); ; {
			if _, err := far.Read(buffer); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = w.Close()
		_ = far.Close()
		d.close()
	})
	return w, far
}

func ask(t *testing.T, w *watched) (failed <-chan error) {
	t.Helper()
	if _, err := w.Write([]byte("PING")); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := w.Read(make([]byte, 1))
		result <- err
	}()
	return result
}

func TestSilentConnectionIsGivenUpOnceTheServerAnswersAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reachable := time.Now().Add(5 * time.Second)
		w, _ := silentPeer(t, func() bool { return time.Now().After(reachable) })
		err := <-ask(t, w)
		if late := time.Since(reachable); !errors.Is(err, errDeadConnection) || late < 0 || late > 3*watchAgain {
			t.Errorf("%v, %v after the server answers others", err, late)
		}
	})
}

func TestAnswerThatIsUnderWaySavesItsConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, far := silentPeer(t, func() bool { return true })
		failed := ask(t, w)
		time.Sleep(watchAfter + watchAgain/2) // in simulated time: it is a suspect now
		if _, err := far.Write([]byte("+")); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err != nil {
			t.Errorf("the answer was not read: %v", err)
		}
		time.Sleep(time.Hour)
		if w.dead.Load() {
			t.Error("a connection nobody asks anything was given up")
		}
	})
}

func TestBlockingCommandHasItsOwnTimeBeforeItIsSuspect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const block = 3 * time.Second
		w, _ := silentPeer(t, func() bool { return true })
		if err := w.SetDeadline(time.Now().Add(block + w.dialer.timeout)); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		err := <-ask(t, w)
		if took := time.Since(begun); !errors.Is(err, errDeadConnection) || took < block || took > block+time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestLargeMessageOnASlowUplinkIsNotADeadConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, far := silentPeer(t, func() bool { return true })
		failed := ask(t, w)
		if _, err := w.Write(make([]byte, uplink)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(watchAfter + uplinkMost - time.Millisecond) // in simulated time: it is still being sent
		if _, err := far.Write([]byte("+")); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err != nil {
			t.Errorf("the connection was given up: %v", err)
		}
	})
}
