package httpserver

import (
	"log/slog"
	"sync"
	"time"
)

// lookEvery is how soon after a look at files the next one may be.
const lookEvery = time.Second

// followed is what files say, read again when somebody asks. When they cannot be read, or are
// nonsense, as halfway through a renewal, what they said before holds.
type followed[T any] struct {
	what   string
	read   func() (T, error)
	logger *slog.Logger

	mu     sync.Mutex
	value  T
	looked time.Time
	fault  string // of the last look
}

// newFollowed fails when there is nothing that could hold.
func newFollowed[T any](what string, read func() (T, error), logger *slog.Logger) (*followed[T], error) {
	value, err := read()
	if err != nil {
		return nil, err
	}
	return &followed[T]{what: what, read: read, logger: logger, value: value, looked: time.Now()}, nil
}

func (f *followed[T]) get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.looked) < lookEvery {
		return f.value
	}
	f.looked = now
	value, err := f.read()
	f.tell(err)
	if err == nil {
		f.value = value
	}
	return f.value
}

// tell logs each fault once, and its end.
func (f *followed[T]) tell(err error) {
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	switch fault {
	case f.fault:
	case "":
		f.logger.Info("taken over again", "what", f.what)
	default:
		f.logger.Error("cannot be taken over: what it was before holds", "what", f.what, "error", err)
	}
	f.fault = fault
}
