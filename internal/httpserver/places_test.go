package httpserver

import (
	"net"
	"net/http"
	"testing"
)

// named is a connection that notes its end.
type named struct {
	net.Conn
	name   string
	closed *[]string
}

func (n *named) Close() error {
	*n.closed = append(*n.closed, n.name)
	return nil
}

// R39: connections that ask no more were kept, thousands of them.
func TestR39ConnectionThatWaitsLongestMakesRoom(t *testing.T) {
	t.Parallel()
	var closed []string
	p := newPlaces(3)
	conns := map[string]*named{}
	note := func(name string, state http.ConnState) {
		if conns[name] == nil {
			conns[name] = &named{name: name, closed: &closed}
		}
		p.note(conns[name], state)
	}
	last := func() string {
		if len(closed) == 0 {
			return ""
		}
		return closed[len(closed)-1]
	}
	for _, name := range []string{"a", "b", "c"} {
		note(name, http.StateNew)
		note(name, http.StateActive)
		p.admit(conns[name])
	}
	if note("d", http.StateNew); last() != "d" {
		t.Errorf("with all places taken %q was ended", last())
	}
	note("d", http.StateClosed)
	note("b", http.StateIdle)
	note("a", http.StateIdle)
	if note("e", http.StateNew); last() != "b" {
		t.Errorf("%q was ended, the longest idle is b", last())
	}
	if note("f", http.StateNew); last() != "a" { // b is not ended twice, though still open
		t.Errorf("%q was ended, the longest idle is a", last())
	}
	note("b", http.StateClosed)
	note("a", http.StateClosed)
	note("c", http.StateHijacked)
	if note("g", http.StateNew); len(closed) != 3 {
		t.Errorf("ended %q, with room for one more", closed)
	}
	note("e", http.StateClosed)
	note("f", http.StateActive)
	note("g", http.StateActive)
	note("h", http.StateNew)
	note("h", http.StateActive)
	p.admit(conns["g"])
	if note("i", http.StateNew); last() != "f" {
		t.Errorf("%q was ended, f is the stranger that is answered for longest", last())
	}
	if p.open != 4 || len(p.place) != p.waiting.Len()+p.answered.Len() || len(p.admitted) != 1 {
		t.Errorf("%d open, %d have a place, %d wait and %d are answered", p.open, len(p.place), p.waiting.Len(), p.answered.Len())
	}
}
