// Package entry is what lies on a stream: an Entry with the fields of an Esper
// message, and its ID, by which entries are ordered. Read and Parse take entries
// out of the replies of Redis without the maps of the client library. Every room
// of oona that reads a stream uses it.
package entry

import (
	"errors"

	"github.com/redis/rueidis"
)

// Fields of a message, as every Esper peer writes them.
const (
	Payload   = "payload"
	Signature = "signature"
	bootstrap = "bootstrap" // the one field of an entry that only creates its stream
)

// Entry is one stream entry as it was read, not judged yet.
type Entry struct {
	ID                 string
	Payload, Signature string
	Found              bool // it has a payload
	Bootstrap          bool // it only creates its stream
	Attempt            int  // of its group; 1 for the first delivery
}

// ErrStrangeReply: the server answered something else than it was asked.
var ErrStrangeReply = errors.New("reply has another form than stream entries")

// Read takes the entries of one stream out of the reply to a read. It goes
// without the maps and slices of the client library, which would be half of all
// allocations.
func Read(reply rueidis.RedisResult) ([]Entry, error) {
	message, err := reply.ToMessage()
	if err != nil {
		return nil, err
	}
	listed, err := entriesOf(message)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(listed))
	for i := range listed {
		if entries[i], err = Parse(listed[i]); err != nil {
			return nil, err
		}
		entries[i].Attempt = 1
	}
	return entries, nil
}

// entriesOf finds the entries of the one stream: a map of streams, or in the
// older protocol a list of pairs.
func entriesOf(message rueidis.RedisMessage) ([]rueidis.RedisMessage, error) {
	if message.IsMap() {
		streams, err := message.ToMap()
		if err != nil {
			return nil, err
		}
		for _, entries := range streams {
			return entries.ToArray()
		}
		return nil, nil
	}
	streams, err := message.ToArray()
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	pair, err := streams[0].ToArray()
	if err != nil {
		return nil, err
	}
	if len(pair) != 2 {
		return nil, ErrStrangeReply
	}
	return pair[1].ToArray()
}

// Parse reads one entry; its attempt is not known here. It fails for one that was deleted meanwhile, which
// an old server lists without fields.
func Parse(message rueidis.RedisMessage) (e Entry, err error) {
	pair, err := message.ToArray()
	if err != nil {
		return e, err
	}
	if len(pair) != 2 {
		return e, ErrStrangeReply
	}
	if e.ID, err = pair[0].ToString(); err != nil {
		return e, err
	}
	fields, err := pair[1].ToArray()
	if rueidis.IsRedisNil(err) {
		return e, nil // deleted while pending: refused as an entry without payload
	}
	if err != nil {
		return e, err
	}
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].ToString() // a field that is no text is none of ours
		value, _ := fields[i+1].ToString()
		switch name {
		case Payload:
			e.Payload, e.Found = value, true
		case Signature:
			e.Signature = value
		case bootstrap:
			e.Bootstrap = value == "" && len(fields) == 2
		}
	}
	return e, nil
}
