package httpserver

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// places bounds the connections of a server. One that is too many ends the one that has
// waited longest for a request, so that idle ones cannot keep others out; when all are
// being answered it is ended itself.
type places struct {
	most int

	mu      sync.Mutex
	open    int
	waiting *list.List // connections that wait for a request, the longest first
	place   map[net.Conn]*list.Element
}

func newPlaces(most int) *places {
	return &places{most: most, waiting: list.New(), place: make(map[net.Conn]*list.Element)}
}

// note is what the server tells of each change of a connection.
func (p *places) note(conn net.Conn, state http.ConnState) {
	if excess := p.change(conn, state); excess != nil {
		_ = excess.Close() // its server notices
	}
}

func (p *places) change(conn net.Conn, state http.ConnState) (excess net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(conn)
	switch state {
	case http.StateNew:
		p.open++
		p.wait(conn)
		if p.open > p.most {
			return p.leave(p.waiting.Front().Value.(net.Conn))
		}
	case http.StateIdle:
		p.wait(conn)
	case http.StateHijacked, http.StateClosed:
		p.open--
	}
	return nil
}

func (p *places) wait(conn net.Conn) { p.place[conn] = p.waiting.PushBack(conn) }

func (p *places) leave(conn net.Conn) net.Conn {
	if at := p.place[conn]; at != nil {
		p.waiting.Remove(at)
		delete(p.place, conn)
	}
	return conn
}
