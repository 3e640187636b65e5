package entry

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ID is the id of a stream entry: the server's clock in milliseconds, and
// a sequence number within it.
type ID struct{ MS, Seq uint64 }

// ParseID reads an id; one without a sequence number has sequence 0.
func ParseID(text string) (ID, error) {
	head, tail, _ := strings.Cut(text, "-")
	ms, err := strconv.ParseUint(head, 10, 64)
	if err != nil {
		return ID{}, fmt.Errorf("entry id %q: %w", text, err)
	}
	var seq uint64
	if tail != "" {
		if seq, err = strconv.ParseUint(tail, 10, 64); err != nil {
			return ID{}, fmt.Errorf("entry id %q: %w", text, err)
		}
	}
	return ID{MS: ms, Seq: seq}, nil
}

func (i ID) String() string {
	return strconv.FormatUint(i.MS, 10) + "-" + strconv.FormatUint(i.Seq, 10)
}

// Next is the smallest id behind this one.
func (i ID) Next() ID { return ID{i.MS, i.Seq + 1} }

// Min is the smaller of two ids.
func (i ID) Min(other ID) ID {
	if other.MS < i.MS || other.MS == i.MS && other.Seq < i.Seq {
		return other
	}
	return i
}

// StoredAt reads the server's clock out of an entry id.
func StoredAt(id string) time.Time {
	parsed, err := ParseID(id)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(parsed.MS))
}

// Compare orders ids as they are written; those that are none by their text.
func Compare(a, b string) int {
	left, _ := ParseID(a)
	right, _ := ParseID(b)
	switch {
	case left == right:
		return strings.Compare(a, b)
	case left.Min(right) == left:
		return -1
	default:
		return 1
	}
}
