package redis

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// silentPeer is a watched connection whose peer takes everything and says
// nothing until it is told to.
func silentPeer(t *testing.T, answers func() bool) (*watched, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	d := newDialer("tcp", time.Minute, defaultMaxValue)
	d.established()
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

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// loopback is a watched connection over TCP, with the answer to what it has asked
// already there, and the far end of it.
func loopback(t *testing.T) *watched {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	d := newDialer("tcp", time.Minute, defaultMaxValue)
	near, err := d.reach(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	w := newWatched(d, near, func() bool { return true })
	t.Cleanup(func() {
		_ = w.Close()
		_ = far.Close()
		d.close()
	})
	w.grace.Store(int64(time.Hour)) // the test looks by itself
	if _, err := w.Write([]byte("PING")); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write([]byte("+PONG")); err != nil {
		t.Fatal(err)
	}
	w.grace.Store(0)
	return w
}

// A busy machine lets us read late what has come in time.
func TestAnswerThatNobodyHasReadYetSavesItsConnection(t *testing.T) {
	t.Parallel()
	w := loopback(t)
	w.dialer.established()
	await(t, "the answer comes in", func() bool { return unread(w.Conn) })
	for range 5 {
		w.verdict()
	}
	if n, err := w.Read(make([]byte, 10)); n != 5 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if _, err := w.Write([]byte("PING")); err != nil {
		t.Fatal(err)
	}
	await(t, "the peer is given up", func() bool { w.verdict(); return w.dead.Load() })
	if _, err := w.Read(make([]byte, 10)); !errors.Is(err, errDeadConnection) {
		t.Errorf("a peer that answers no more: %v", err)
	}
}

// Before there ever was a connection, the caller says how long he waits.
func TestFirstConnectionIsGivenTheTimeThatItsCallerHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, far := silentPeer(t, func() bool { return true })
		w.dialer.connected = false
		failed := ask(t, w)
		time.Sleep(10 * time.Second) // in simulated time
		if _, err := far.Write([]byte("+")); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err != nil {
			t.Errorf("the connection was given up: %v", err)
		}
	})
}
