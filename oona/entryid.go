package oona

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// entryID is the id of a stream entry: the server's clock in milliseconds, and
// a sequence number within it.
type entryID struct{ ms, seq uint64 }

func parseID(text string) (entryID, error) {
	head, tail, _ := strings.Cut(text, "-")
	ms, err := strconv.ParseUint(head, 10, 64)
	if err != nil {
		return entryID{}, fmt.Errorf("entry id %q: %w", text, err)
	}
	var seq uint64
	if tail != "" {
		if seq, err = strconv.ParseUint(tail, 10, 64); err != nil {
			return entryID{}, fmt.Errorf("entry id %q: %w", text, err)
		}
	}
	return entryID{ms, seq}, nil
}

func (i entryID) String() string {
	return strconv.FormatUint(i.ms, 10) + "-" + strconv.FormatUint(i.seq, 10)
}

func (i entryID) next() entryID { return entryID{i.ms, i.seq + 1} }

func (i entryID) min(other entryID) entryID {
	if other.ms < i.ms || other.ms == i.ms && other.seq < i.seq {
		return other
	}
	return i
}

// publishedBy is publishedAt, but for an id that lies in the future, which whoever
// writes to a stream may choose: it counts as of now, and makes nothing behind it old.
func publishedBy(id string, now time.Time) time.Time {
	if at := publishedAt(id); !at.After(now) {
		return at
	}
	return now
}

// publishedAt reads the server's clock out of an entry id.
func publishedAt(id string) time.Time {
	parsed, err := parseID(id)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(parsed.ms))
}
