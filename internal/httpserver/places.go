package httpserver

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// places bounds the connections of a server. One that is too many ends the one that has
// waited longest for a request, so that idle ones cannot keep others out. When all are being
// answered it ends the one of a stranger that has been for longest; where there are none it is
// ended itself.
type places struct {
	most int

	mu       sync.Mutex
	open     int
	waiting  *list.List // connections that wait for a request, the longest first
	answered *list.List // those of strangers that are being answered, the longest first
	place    map[net.Conn]*list.Element
	admitted map[net.Conn]bool // a guard let in a request of it
}

func newPlaces(most int) *places {
	return &places{
		most: most, waiting: list.New(), answered: list.New(), place: make(map[net.Conn]*list.Element), admitted: make(map[net.Conn]bool),
	}
}

// note is what the server tells of each change of a connection.
func (p *places) note(conn net.Conn, state http.ConnState) {
	excess := p.change(conn, state)
	if excess == nil {
		return
	}
	if secured, is := excess.(interface{ NetConn() net.Conn }); is {
		excess = secured.NetConn() // the good-bye of TLS would wait for the client, and all who come with it
	}
	_ = excess.Close() // its server notices
}

func (p *places) change(conn net.Conn, state http.ConnState) (excess net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(conn)
	switch state {
	case http.StateNew:
		p.open++
		p.enter(p.waiting, conn)
		if p.open > p.most {
			return p.leave(p.excess())
		}
	case http.StateActive:
		if !p.admitted[conn] {
			p.enter(p.answered, conn)
		}
	case http.StateIdle:
		p.enter(p.waiting, conn)
	case http.StateHijacked, http.StateClosed:
		p.open--
		delete(p.admitted, conn)
	}
	return nil
}

// excess is the connection that makes room for the newest, which waits.
func (p *places) excess() net.Conn {
	if p.waiting.Len() == 1 && p.answered.Len() > 0 {
		return p.answered.Front().Value.(net.Conn)
	}
	return p.waiting.Front().Value.(net.Conn)
}

func (p *places) enter(among *list.List, conn net.Conn) { p.place[conn] = among.PushBack(conn) }

func (p *places) leave(conn net.Conn) net.Conn {
	if at := p.place[conn]; at != nil {
		p.waiting.Remove(at) // whichever it is in
		p.answered.Remove(at)
		delete(p.place, conn)
	}
	return conn
}

// admit has a connection, while it is open, be no stranger's.
func (p *places) admit(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.admitted[conn] {
		return
	}
	p.leave(conn)
	p.admitted[conn] = true
}

// ofConn is the key of the context of a connection's requests for what admits it.
type ofConn struct{}

// introduce has requests of a connection know what admits it.
func (p *places) introduce(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, ofConn{}, func() { p.admit(conn) })
}
