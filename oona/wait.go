package oona

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// unblockPause is the pause between two attempts to end a wait: the first may
// come before the server has begun to wait.
const unblockPause = 10 * time.Millisecond

// line is the connection of one reader. The server hands entries to a read the
// moment it answers it, so a read must not be cut off: at a stop the line asks
// the server to answer now, and still takes the answer.
type line struct {
	rdb   rueidis.Client
	key   string // of the stream: in a cluster, the line leads to its node
	conn  rueidis.DedicatedClient
	id    int64 // of the connection; 0 when the server does not tell
	leave func()
}

// blocking runs a command that waits on the server for at most bound. The end of
// fetch asks for the answer; the end of work gives it up, and what it hands out
// stays pending.
func (l *line) blocking(fetch, work context.Context, bound time.Duration, command rueidis.Completed) (rueidis.RedisResult, error) {
	// Not fetch: its end must not lose the answer.
	ctx, cancel := context.WithTimeout(work, bound)
	defer cancel()
	if err := l.open(ctx); err != nil {
		return rueidis.RedisResult{}, err
	}
	answered, ended := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(fetch, func() {
		defer close(ended)
		l.unblock(ctx, answered)
	})
	reply := l.conn.Do(ctx, command)
	close(answered)
	if !stop() {
		<-ended
	}
	if !staysWith(reply.Error()) {
		l.close()
	}
	return reply, nil
}

// staysWith says that a connection is as good as before an answer. Any failure may be
// the connection's: in a cluster the stream may have moved to another node.
func staysWith(err error) bool {
	return err == nil || rueidis.IsRedisNil(err) || isRedisError(err, "UNBLOCKED")
}

func (l *line) open(ctx context.Context) error {
	if l.conn != nil {
		return nil
	}
	conn, leave := l.rdb.Dedicate()
	// The first command with a key decides which node the line leads to.
	if err := conn.Do(ctx, conn.B().Exists().Key(l.key).Build()).Error(); err != nil && !isServerError(err) {
		leave()
		return fmt.Errorf("open connection: %w", err)
	}
	id, err := conn.Do(ctx, conn.B().ClientId().Build()).AsInt64()
	if err != nil && !isServerError(err) {
		leave()
		return fmt.Errorf("open connection: %w", err)
	}
	l.conn, l.leave, l.id = conn, leave, id
	return nil
}

func isServerError(err error) bool {
	_, is := rueidis.IsRedisErr(err)
	return is
}

// unblock asks the server to answer until it does. A server that cannot be
// asked is not waited for.
func (l *line) unblock(ctx context.Context, answered <-chan struct{}) {
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

func (l *line) close() {
	if l.conn != nil {
		l.leave()
		l.conn = nil
	}
}
