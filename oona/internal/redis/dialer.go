package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// redialTimeout bounds one attempt to reach a bus that was reached before: a
	// network that is back is used by the next attempt.
	redialTimeout = time.Second
	// probeTimeout bounds asking for a sign of life on a connection of its own.
	probeTimeout = 500 * time.Millisecond
)

// dialer makes the connections of one client, and watches over them until it is
// closed.
type dialer struct {
	network string
	timeout time.Duration   // longest time that a server may take for anything
	most    int             // bytes of one value, or of the fields of one entry
	life    context.Context // of every connection; closing the client ends it
	end     context.CancelFunc
	running sync.WaitGroup // watches that are looking

	mu        sync.Mutex
	connected bool
	probes    map[string]*probe // under way, by address
}

func newDialer(network string, timeout time.Duration, most int) *dialer {
	d := &dialer{network: network, timeout: timeout, most: most, probes: make(map[string]*probe)}
	// Connections outlive whoever asked for them; close ends them.
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// dial connects to one address, over TLS when there is a configuration for it.
func (d *dialer) dial(ctx context.Context, addr string, _ *net.Dialer, config *tls.Config) (net.Conn, error) {
	raw, err := d.reach(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn := newWatched(d, raw, func() bool { return d.answers(addr, config) })
	secured, err := d.secure(ctx, addr, conn, config)
	if err != nil {
		return nil, err
	}
	return newBounded(secured, d.most), nil
}

func (d *dialer) reach(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.patience())
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	return new(net.Dialer).DialContext(ctx, d.network, addr)
}

func (d *dialer) patience() time.Duration {
	if d.reached() {
		return min(redialTimeout, d.timeout)
	}
	return d.timeout
}

// reached reports whether the client has been connected once.
func (d *dialer) reached() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.connected
}

func (d *dialer) secure(ctx context.Context, addr string, conn net.Conn, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return conn, nil
	}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("server name: %w", err), conn.Close())
		}
		config = config.Clone()
		config.ServerName = host
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake says what is wrong
		return nil, err
	}
	return secured, nil
}

// established ends the patience of the first connection.
func (d *dialer) established() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.connected = true
}

// watch notes that a watch begins to look, unless the client is closed.
func (d *dialer) watch() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life.Err() != nil {
		return false
	}
	d.running.Add(1)
	return true
}

// close ends every connection and every watch, and waits for them.
func (d *dialer) close() {
	d.mu.Lock()
	d.end()
	d.mu.Unlock()
	d.running.Wait()
}

// probe is one question for a sign of life, shared by all who want to know.
type probe struct {
	done     chan struct{}
	answered bool // once done
}

// answers reports whether the server answers a new connection.
func (d *dialer) answers(addr string, config *tls.Config) bool {
	d.mu.Lock()
	p, asked := d.probes[addr]
	if !asked {
		p = &probe{done: make(chan struct{})}
		d.probes[addr] = p
	}
	d.mu.Unlock()
	if asked {
		<-p.done
		return p.answered
	}
	p.answered = d.ask(addr, config) == nil
	d.mu.Lock()
	delete(d.probes, addr)
	d.mu.Unlock()
	close(p.done)
	return p.answered
}

// ask connects and waits for an answer, whatever it says: that a password is
// wanted is a sign of life too.
func (d *dialer) ask(addr string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(d.life, min(probeTimeout, d.timeout))
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, d.network, addr)
	if err != nil {
		return err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	conn, err := d.secure(ctx, addr, raw, config)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}
