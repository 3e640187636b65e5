package oona

import (
	"errors"
	"unsafe"

	"github.com/redis/rueidis"
)

var errStrangeReply = errors.New("reply has another form than stream entries")

// parseRead takes the entries of one stream out of the reply to a read. It goes
// without the maps and slices of the client library, which would be half of all
// allocations.
func parseRead(reply rueidis.RedisResult) ([]entry, error) {
	message, err := reply.ToMessage()
	if err != nil {
		return nil, err
	}
	listed, err := entriesOf(message)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(listed))
	for i := range listed {
		if entries[i], err = parseEntry(listed[i]); err != nil {
			return nil, err
		}
		entries[i].attempt = 1
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
		return nil, errStrangeReply
	}
	return pair[1].ToArray()
}

// parseEntry reads one entry. It fails for one that was deleted meanwhile, which
// an old server lists without fields.
func parseEntry(message rueidis.RedisMessage) (e entry, err error) {
	pair, err := message.ToArray()
	if err != nil {
		return e, err
	}
	if len(pair) != 2 {
		return e, errStrangeReply
	}
	if e.id, err = pair[0].ToString(); err != nil {
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
		case entryPayload:
			e.payload, e.found = value, true
		case entrySignature:
			e.signature = value
		case entryBootstrap:
			e.bootstrap = value == "" && len(fields) == 2
		}
	}
	return e, nil
}

// readOnly is the bytes of a text, which nobody may change.
func readOnly(text string) []byte {
	return unsafe.Slice(unsafe.StringData(text), len(text)) //nolint:gosec // saves a copy of every message
}
