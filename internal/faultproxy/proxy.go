package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds connecting to the server behind the proxy.
const dialTimeout = 3 * time.Second

// Proxy forwards connections to one server. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup
	ctx      context.Context // done once the proxy is closed
	end      context.CancelFunc

	mu      sync.Mutex
	target  string
	fault   Fault
	rewrite func([]byte) []byte // nil: answers pass as they are
	misread func([]byte) []byte // the same of requests
	changed chan struct{}       // closed when fault changes
	links   map[*link]struct{}
}

// Start listens on a free loopback port and forwards to target, a host:port.
func Start(target string) (*Proxy, error) {
	// The proxy lives until Close, whoever started it.
	ctx, end := context.WithCancel(context.Background())
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		end()
		return nil, fmt.Errorf("start fault proxy: %w", err)
	}
	p := &Proxy{
		target: target, listener: listener, ctx: ctx, end: end,
		changed: make(chan struct{}), links: make(map[*link]struct{}),
	}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is the host and port clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set replaces the fault, for open connections and new ones.
func (p *Proxy) Set(fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
	close(p.changed)
	p.changed = make(chan struct{})
}

// Rewrite has the server say something else: each chunk of its answers passes
// through the function, and a short answer comes in one chunk. Nil ends it.
func (p *Proxy) Rewrite(rewrite func(answer []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rewrite = rewrite
}

// Misread has the server hear something else: each chunk of what it is sent passes
// through the function, and a short request comes in one chunk. Nil ends it.
func (p *Proxy) Misread(misread func(request []byte) []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.misread = misread
}

// Forward sends new connections to another server, as when another one takes over an
// address. Open ones go on: see Cut.
func (p *Proxy) Forward(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut closes every open connection on both sides and returns how many.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
	return len(p.links)
}

// Close ends every connection and waits for all of them. It can be called more
// than once.
func (p *Proxy) Close() error {
	p.end()
	err := p.listener.Close()
	p.Cut()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (p *Proxy) current() (Fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.changed
}

// answer is what the client hears of a chunk.
func (p *Proxy) answer(chunk []byte) []byte { return p.through(&p.rewrite, chunk) }

// request is what the server hears of a chunk.
func (p *Proxy) request(chunk []byte) []byte { return p.through(&p.misread, chunk) }

func (p *Proxy) through(change *func([]byte) []byte, chunk []byte) []byte {
	p.mu.Lock()
	changes := *change
	p.mu.Unlock()
	if changes == nil {
		return chunk
	}
	return changes(chunk)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // the listener was closed
		}
		if fault, _ := p.current(); fault.Refuse {
			reset(client)
			continue
		}
		p.running.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	dialer := net.Dialer{Timeout: dialTimeout}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := dialer.DialContext(p.ctx, "tcp", target)
	if err != nil {
		reset(client)
		return
	}
	l := newLink(p, client, server)
	if !p.add(l) {
		l.cut()
		return
	}
	l.forward()
	p.remove(l)
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// reset closes a connection so that the other side gets an error, not an end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the close below does the rest
	}
	_ = conn.Close()
}
