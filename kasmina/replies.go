package kasmina

import "sync"

// replies are the results of requests that the snapshot does not show yet. They are
// held back until it does: whoever has a result finds it in what readers see.
type replies struct {
	mu   sync.Mutex // the tasks that a stop cuts short reply by themselves
	held []heldReply
}

type heldReply struct {
	to  chan<- error
	err error
}

func (r *replies) hold(to chan<- error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = append(r.held, heldReply{to, err})
}

func (r *replies) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reply := range r.held {
		reply.to <- reply.err // has room: there is one for each request
	}
	r.held = r.held[:0]
}
