package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// unblockPause is the pause between two attempts to end a wait: the first may
// come before the server has begun to wait.
const unblockPause = 10 * time.Millisecond

// partingTimeout bounds what a reader still asks the server when it ends. One that is
// frozen would take the whole of a timeout, from each of a service's readers in turn.
const partingTimeout = 500 * time.Millisecond

// Parting bounds the questions with which a reader ends, and that nothing depends on.
func (c *Conn) Parting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, partingTimeout)
}

// Line is the connection of one reader of a stream, made with its first read. It is
// not safe for concurrent use.
type Line struct {
	rdb    *Conn
	stream string // in a cluster, the line leads to its node
	dedicated
}

// NewLine is a line to a stream, which ends with Close.
func (c *Conn) NewLine(stream string) *Line { return &Line{rdb: c, stream: stream} }

// Take runs a command that reads for a group, waits on the server for at most wait
// and hands out what it reads the moment it answers. It must not be cut off: at the
// end of fetch the line asks the server to answer now, and still takes the answer.
// The end of work gives the answer up, and what it hands out stays pending.
func (l *Line) Take(fetch, work context.Context, wait time.Duration, command rueidis.Completed) ([]entry.Entry, error) {
	if err := l.open(fetch); err != nil {
		return nil, fmt.Errorf("read %s: %w", l.stream, err)
	}
	// Not fetch: its end must not lose the answer. The bound catches a connection
	// that is dead without having been closed.
	ctx, cancel := context.WithTimeout(work, wait+l.rdb.Timeout)
	defer cancel()
	answered, ended := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(fetch, func() {
		defer close(ended)
		asking, cancel := l.rdb.Parting(ctx)
		defer cancel()
		l.unblock(asking, answered)
	})
	reply := l.conn.Do(ctx, command)
	close(answered)
	if !stop() {
		<-ended
	}
	return l.entries(reply)
}

// Look runs a command that reads, waits on the server for at most wait and takes
// nothing from anybody: the end of ctx cuts it off.
func (l *Line) Look(ctx context.Context, wait time.Duration, command rueidis.Completed) ([]entry.Entry, error) {
	if l.conn == nil {
		var err error
		if l.dedicated, err = dedicate(ctx, l.rdb, anonymous); err != nil {
			return nil, fmt.Errorf("read %s: %w", l.stream, err)
		}
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		l.conn.Close()
	})
	bounded, cancel := context.WithTimeout(ctx, wait+l.rdb.Timeout)
	reply := l.conn.Do(bounded, command)
	cancel()
	if !stop() {
		<-ended
	}
	return l.entries(reply)
}

// entries takes them out of an answer. Any failure may be the connection's: in a
// cluster the stream may have moved to another node.
func (l *Line) entries(reply rueidis.RedisResult) ([]entry.Entry, error) {
	err := reply.Error()
	none := rueidis.IsRedisNil(err) || HasCode(err, "UNBLOCKED")
	if err != nil && !none {
		l.Close()
	}
	if none {
		return nil, nil
	}
	entries, err := entry.Read(reply)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.stream, err)
	}
	return entries, nil
}

func (l *Line) open(ctx context.Context) error {
	if l.conn != nil {
		return nil
	}
	var err error
	l.dedicated, err = dedicate(ctx, l.rdb, func(ctx context.Context, conn rueidis.DedicatedClient) (int64, error) {
		// The first command with a key decides which node the line leads to.
		if err := conn.Do(ctx, conn.B().Exists().Key(l.stream).Build()).Error(); err != nil && !IsReply(err) {
			return 0, fmt.Errorf("open connection: %w", err)
		}
		id, err := conn.Do(ctx, conn.B().ClientId().Build()).AsInt64()
		if err != nil && !IsReply(err) {
			return 0, fmt.Errorf("open connection: %w", err)
		}
		return id, nil
	})
	return err
}

// unblock asks the server to answer until it does. A server that cannot be
// asked is not waited for.
func (l *Line) unblock(ctx context.Context, answered <-chan struct{}) {
	for {
		select {
		case <-answered:
			return
		default:
		}
		err := l.rdb.Do(ctx, l.rdb.B().ClientUnblock().ClientId(l.id).Build()).Error()
		if err != nil {
			l.conn.Close()
			return
		}
		timer := time.NewTimer(unblockPause)
		select {
		case <-answered:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Close gives the connection up; the next read makes another.
func (l *Line) Close() {
	if l.conn != nil {
		l.leave()
		l.dedicated = dedicated{}
	}
}
