package redis

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
)

const (
	// replyBuffer is what is read of a connection at once.
	replyBuffer = 16 << 10
	// maxFields bounds what one entry holds: names and values. An empty one takes six bytes
	// on the wire and ten times as much in memory.
	maxFields = 1024
	// fieldsDepth is how deep the fields of an entry lie at the least: in an entry, in a list.
	fieldsDepth = 2
	// maxLength is more than a server can hold.
	maxLength = 1 << 40
	// maxDepth bounds replies in replies.
	maxDepth = 16
)

var errStrangeProtocol = errors.New("server speaks another protocol")

// bounded is a connection whose replies are cut to what a reader may hold. The server sends
// an entry whole, whatever its size, and a read asks for many: without a bound anybody who
// can write to a stream would decide how much memory its readers need. A value beyond the
// bound arrives cut, which who judges it sees by its length.
type bounded struct {
	net.Conn
	in    *bufio.Reader
	limit int // bytes of all values of one list, or of a value that stands alone

	line  []byte // the room of what is made here
	out   []byte // comes next
	body  int    // then so many bytes as they are
	skip  int    // then so many are left out
	cut   bool   // and the end of the value is made anew
	lists []list // those that have begun, the outermost first
	err   error
}

// list is a reply of several.
type list struct {
	left, keep int // elements to come, and those among them that are passed on
	room       int // bytes of values
}

func newBounded(conn net.Conn, limit int) *bounded {
	return &bounded{Conn: conn, in: bufio.NewReaderSize(conn, replyBuffer), limit: limit}
}

// Read waits for the first byte, and takes what has come with it.
func (b *bounded) Read(p []byte) (n int, err error) {
	for b.err == nil && n < len(p) && (n == 0 || len(b.out) > 0 || b.in.Buffered() > 0) {
		var more int
		more, b.err = b.some(p[n:])
		n += more
	}
	if n > 0 || len(p) == 0 {
		return n, nil // an error is told by the next read
	}
	return 0, b.err
}

func (b *bounded) some(p []byte) (n int, err error) {
	switch {
	case len(b.out) > 0:
		n = copy(p, b.out)
		b.out = b.out[n:]
	case b.body > 0:
		n, err = b.in.Read(p[:min(len(p), b.body)])
		b.body -= n
	case b.skip > 0:
		var left int
		left, err = b.in.Discard(b.skip)
		b.skip -= left
	case b.cut:
		b.cut = false
		b.line = append(b.line[:0], "\r\n"...)
		b.out = b.line
	default:
		err = b.next()
	}
	return n, err
}

// next begins the next element.
func (b *bounded) next() error {
	line, err := b.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return errStrangeProtocol
	}
	switch line[0] {
	case '$', '=', '!':
		return b.value(line)
	case '*', '~', '>', '%':
		return b.begin(line)
	case '+', '-', ':', '_', '#', ',', '(':
		if b.passes() {
			b.repeat(line)
		}
		b.done()
		return nil
	default:
		return fmt.Errorf("%w: a reply begins with %q", errStrangeProtocol, line[0])
	}
}

// count is the number in the head of a value or a list; -1 for none.
func count(line []byte) (int, error) {
	digits := line[1 : len(line)-2]
	if string(digits) == "-1" {
		return -1, nil
	}
	n := 0
	for _, digit := range digits {
		if digit < '0' || digit > '9' || n > maxLength {
			return 0, strangeLength(line)
		}
		n = 10*n + int(digit-'0')
	}
	if len(digits) == 0 {
		return 0, strangeLength(line)
	}
	return n, nil
}

func strangeLength(line []byte) error {
	return fmt.Errorf("%w: a length of %.20q", errStrangeProtocol, line[1:])
}

func (b *bounded) value(line []byte) error {
	n, err := count(line)
	if err != nil {
		return err
	}
	passes := b.passes()
	switch {
	case n < 0 && passes:
		b.repeat(line)
	case n < 0:
	case !passes:
		b.skip = n + 2
	default:
		keep := b.take(n)
		b.head(line[0], keep)
		if b.body = keep; keep == n {
			b.body += 2 // with its end
		} else {
			b.skip, b.cut = n-keep+2, true
		}
	}
	b.done()
	return nil
}

// repeat and head set what comes next.
func (b *bounded) repeat(line []byte) {
	b.line = append(b.line[:0], line...)
	b.out = b.line
}

func (b *bounded) head(kind byte, n int) {
	b.line = append(strconv.AppendInt(append(b.line[:0], kind), int64(n), 10), "\r\n"...)
	b.out = b.line
}

// take returns how many bytes of a value there is room for.
func (b *bounded) take(n int) int {
	if len(b.lists) == 0 {
		return min(n, b.limit)
	}
	inside := &b.lists[len(b.lists)-1]
	n = min(n, inside.room)
	inside.room -= n
	return n
}

// begin begins a list. Of the fields of an entry it passes the first ones on.
func (b *bounded) begin(line []byte) error {
	n, err := count(line)
	if err != nil {
		return err
	}
	passes := b.passes()
	each := 1
	if line[0] == '%' {
		each = 2
	}
	keep := n
	if len(b.lists) >= fieldsDepth {
		keep = min(n, maxFields)
	}
	if passes {
		b.head(line[0], keep)
	}
	if n <= 0 {
		b.done()
		return nil
	}
	if len(b.lists) == maxDepth {
		return fmt.Errorf("%w: replies in each other deeper than %d", errStrangeProtocol, maxDepth)
	}
	if !passes {
		keep = 0
	}
	b.lists = append(b.lists, list{left: n * each, keep: keep * each, room: b.limit})
	return nil
}

// passes reports whether the next element is passed on.
func (b *bounded) passes() bool {
	return len(b.lists) == 0 || b.lists[len(b.lists)-1].keep > 0
}

// done ends an element, and the lists that end with it.
func (b *bounded) done() {
	for len(b.lists) > 0 {
		inside := &b.lists[len(b.lists)-1]
		inside.left--
		inside.keep--
		if inside.left > 0 {
			return
		}
		b.lists = b.lists[:len(b.lists)-1]
	}
}
