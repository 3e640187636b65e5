package faultproxy

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

// chunkSize is the most that is forwarded at once, in bytes.
const chunkSize = 32 << 10

// link is one client connection with its server connection.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	ctx            context.Context // done once the link is cut
	end            context.CancelFunc
	silent         atomic.Bool // it lost bytes, and can never make sense again
}

func newLink(p *Proxy, client, server net.Conn) *link {
	l := &link{proxy: p, client: client, server: server}
	l.ctx, l.end = context.WithCancel(p.ctx)
	return l
}

// cut closes both sides at once; forward ends.
func (l *link) cut() {
	l.end()
	reset(l.client)
	reset(l.server)
}

// forward copies both directions until one of them ends.
func (l *link) forward() {
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(l.server, l.client, l.proxy.request) })
	pumps.Go(func() { l.pump(l.client, l.server, l.proxy.answer) })
	pumps.Wait()
}

func (l *link) pump(to, from net.Conn, says func([]byte) []byte) {
	defer l.cut()
	buffer := make([]byte, chunkSize)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !l.pass(to, says(buffer[:n])) {
			return
		}
		if err != nil {
			l.await(l.open)
			return
		}
	}
}

// open says that the end of one side would arrive at the other. A silent link tells
// nobody anything, ever.
func (l *link) open(f Fault) bool { return !f.HalfOpen && !f.Freeze && !l.silent.Load() }

// pass forwards one chunk as the fault of the moment allows.
func (l *link) pass(to net.Conn, chunk []byte) bool {
	fault, ok := l.await(func(f Fault) bool { return !f.Freeze })
	if !ok {
		return false
	}
	if fault.HalfOpen || l.silent.Load() {
		l.silent.Store(true)
		return true
	}
	if !l.wait(fault.Delay) {
		return false
	}
	return l.write(to, chunk, fault.BytesPerSecond)
}

// await waits for a fault that is let pass, and returns it; false once the link is cut.
func (l *link) await(passes func(Fault) bool) (Fault, bool) {
	for {
		fault, changed := l.proxy.current()
		if passes(fault) {
			return fault, true
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return Fault{}, false
		}
	}
}

// write sends a chunk, in pieces of a hundredth of a second when a rate is set.
func (l *link) write(to net.Conn, chunk []byte, bytesPerSecond int) bool {
	if bytesPerSecond <= 0 {
		_, err := to.Write(chunk)
		return err == nil
	}
	piece := max(1, bytesPerSecond/100)
	for len(chunk) > 0 {
		n := min(piece, len(chunk))
		if _, err := to.Write(chunk[:n]); err != nil {
			return false
		}
		if !l.wait(time.Duration(n) * time.Second / time.Duration(bytesPerSecond)) {
			return false
		}
		chunk = chunk[n:]
	}
	return true
}

// wait pauses, unless the link is cut.
func (l *link) wait(pause time.Duration) bool {
	if pause <= 0 {
		return true
	}
	return cadence.Sleep(l.ctx, pause)
}
