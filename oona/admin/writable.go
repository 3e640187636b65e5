package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// unwritable are the codes with which a server refuses whatever is written: a
// replica, one out of memory, one that cannot save, one without enough replicas.
var unwritable = []string{"READONLY", "OOM", "MISCONF", "NOREPLICAS"}

// ErrNoWrites: the bus refuses whatever is written.
var ErrNoWrites = errors.New("the bus takes no writes")

// Writable asks, within DialTimeout, whether the bus would take entries on these
// streams, and whether what lies under their names are streams. It changes
// nothing: a stream that is not there yet is not made. A server that refuses all writes is
// ErrNoWrites.
func (a *Admin) Writable(ctx context.Context, streams ...string) error {
	ctx, cancel := context.WithTimeout(ctx, a.conn.Timeout)
	defer cancel()
	commands := make(rueidis.Commands, 0, 2*len(streams))
	for _, stream := range streams {
		commands = append(commands, a.conn.B().Type().Key(stream).Build(),
			// No entry may have the lowest id, so a server that takes writes refuses
			// this one for its id, before it looks for the stream.
			a.conn.B().Xadd().Key(stream).Id("0-0").FieldValue().FieldValue("may", "write").Build())
	}
	var faults []error
	replies := a.conn.DoMulti(ctx, commands...)
	for i, stream := range streams {
		switch err := replies[2*i+1].Error(); {
		case refusesAll(err):
			return fmt.Errorf("%w: %w", ErrNoWrites, err)
		case err != nil && !redis.IsReply(err):
			return fmt.Errorf("ask whether the bus takes writes: %w", err)
		}
		if kind, err := replies[2*i].ToString(); err == nil && kind != "stream" && kind != "none" {
			faults = append(faults, fmt.Errorf("%s is no stream: WRONGTYPE %s", stream, kind))
		}
	}
	return errors.Join(faults...)
}

// refusesAll reports whether a server refuses more than this one command.
func refusesAll(err error) bool {
	return slices.ContainsFunc(unwritable, func(code string) bool { return redis.HasCode(err, code) })
}
