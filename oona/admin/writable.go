package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// unwritable are the codes with which a server refuses whatever is written: a
// replica, one out of memory, one that cannot save, one without enough replicas.
var unwritable = []string{"READONLY", "OOM", "MISCONF", "NOREPLICAS"}

// Writable asks, within DialTimeout, whether the bus would take entries on these
// streams, and whether what lies under their names are streams. It changes
// nothing: a stream that is not there yet is not made.
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
		if err := unwritableReply(replies[2*i+1].Error()); err != nil {
			return fmt.Errorf("the bus takes no writes: %w", err)
		}
		if kind, err := replies[2*i].ToString(); err == nil && kind != "stream" && kind != "none" {
			faults = append(faults, fmt.Errorf("%s is no stream: WRONGTYPE %s", stream, kind))
		}
	}
	return errors.Join(faults...)
}

// unwritableReply is what keeps a server from writing, or from answering.
func unwritableReply(err error) error {
	if !redis.IsReply(err) {
		return err
	}
	for _, code := range unwritable {
		if redis.HasCode(err, code) {
			return err
		}
	}
	return nil
}
