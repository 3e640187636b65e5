package supervise

import (
	"slices"
	"sync"
	"time"
)

// Event is one move of one worker. Logs, telemetry, HTTP and tests all read these and nothing else.
type Event struct {
	Time     time.Time
	Worker   string
	From, To State
	Err      error         // why, when a failure caused the move
	Stack    []byte        // of the goroutine that panicked
	Restarts int           // how often the worker was started again so far
	Delay    time.Duration // until the next start, for BackingOff and Degraded
	Circuit  Circuit
}

// Recovered reports whether the event says that a worker which had failed has now been healthy for ResetAfter.
func (e Event) Recovered() bool { return e.From == Running && e.To == Running && e.Err == nil }

// hookBacklog is how many events may wait for a slow OnEvent: some minutes of the worst storm that a policy allows.
const hookBacklog = 1024

// stream hands events to the hook and to the subscribers, in one order, without ever waiting for either.
type stream struct {
	mu          sync.Mutex
	dropped     uint64
	subscribers []chan Event

	hook    func(Event)
	backlog []Event
	spare   []Event       // the room that backlog takes next
	idle    chan struct{} // closed when the hook has seen everything; nil when nobody waits for that
	busy    bool
	drainer func() // drain, made once
}

func (s *stream) init(hook func(Event)) { s.hook, s.drainer = hook, s.drain }

func (s *stream) publish(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.subscribers {
		select {
		case c <- e:
		default:
			s.dropped++
		}
	}
	s.enqueue(e)
}

// enqueue leaves e to the goroutine that calls the hook, which lives only while there are events: so it needs no
// stop, and events that come after a stop are still told.
func (s *stream) enqueue(e Event) {
	if s.hook == nil {
		return
	}
	if len(s.backlog) >= hookBacklog {
		s.dropped++
		return
	}
	s.backlog = append(s.backlog, e)
	if !s.busy {
		s.busy = true
		go s.drainer()
	}
}

func (s *stream) drain() {
	for batch := s.next(nil); len(batch) > 0; batch = s.next(batch) {
		for _, e := range batch {
			s.call(e)
		}
	}
}

// next gives back what was told and takes what is to be told; nothing ends the drain.
func (s *stream) next(told []Event) []Event {
	clear(told) // an error may hold much memory
	s.mu.Lock()
	defer s.mu.Unlock()
	if told != nil {
		s.spare = told[:0]
	}
	batch := s.backlog
	if len(batch) > 0 {
		s.backlog, s.spare = s.spare, nil
		return batch
	}
	s.busy = false
	if s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
	return nil
}

// call counts an event that the hook panicked on as dropped: whoever watches the workers must not bring them down.
func (s *stream) call(e Event) {
	defer func() {
		if recover() != nil {
			s.mu.Lock()
			s.dropped++
			s.mu.Unlock()
		}
	}()
	s.hook(e)
}

// flush waits until the hook has seen all events so far, or until limit ends.
func (s *stream) flush(limit <-chan struct{}) {
	select {
	case <-s.told():
	case <-limit:
	}
}

// told is closed when the hook has seen all events so far.
func (s *stream) told() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.busy {
		seen := make(chan struct{})
		close(seen)
		return seen
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	return s.idle
}

func (s *stream) subscribe(buffer int) (<-chan Event, func()) {
	c := make(chan Event, max(buffer, 0))
	s.mu.Lock()
	s.subscribers = append(s.subscribers, c)
	s.mu.Unlock()
	return c, sync.OnceFunc(func() { s.unsubscribe(c) })
}

func (s *stream) unsubscribe(c chan Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers = slices.DeleteFunc(s.subscribers, func(other chan Event) bool { return other == c })
	close(c)
}

func (s *stream) drops() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}
