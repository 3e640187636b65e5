package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// wire is a connection that was sent these bytes.
type wire struct {
	net.Conn
	from io.Reader
}

func (w wire) Read(p []byte) (int, error) { return w.from.Read(p) }

// passed is what comes of replies through the bound, whatever the sizes of the reads.
func passed(t interface{ Fatal(args ...any) }, limit int, sent string) string {
	var got string
	for _, from := range []io.Reader{strings.NewReader(sent), iotest.OneByteReader(strings.NewReader(sent))} {
		text, err := io.ReadAll(newBounded(wire{from: from}, limit))
		if err != nil {
			t.Fatal(err)
		}
		small, err := io.ReadAll(iotest.OneByteReader(newBounded(wire{from: strings.NewReader(sent)}, limit)))
		if err != nil {
			t.Fatal(err)
		}
		if got = string(text); got != string(small) {
			t.Fatal("the sizes of the reads make a difference")
		}
	}
	return got
}

func text(n int) string { return fmt.Sprintf("$%d\r\n%s\r\n", n, strings.Repeat("x", n)) }

func several(head string, n int, element string) string {
	return fmt.Sprintf("%s%d\r\n", head, n) + strings.Repeat(element, n)
}

// One batch of 64 entries of 8 MB would take 562 MB.
func TestR14RepliesAreCutToTheBound(t *testing.T) {
	t.Parallel()
	entryOf := func(fields string) string { return "*2\r\n$3\r\n1-1\r\n" + fields }
	for name, c := range map[string]struct{ sent, want string }{
		"within":           {text(10), text(10)},
		"beyond":           {text(11), text(10)},
		"two, each alone":  {text(8) + text(9), text(8) + text(9)},
		"nothing":          {"$-1\r\n*-1\r\n_\r\n*0\r\n%0\r\n", "$-1\r\n*-1\r\n_\r\n*0\r\n%0\r\n"},
		"values of a list": {"*3\r\n" + text(6) + text(6) + text(6), "*3\r\n" + text(6) + text(4) + text(0)},
		"each entry for itself": {
			"*2\r\n" + entryOf("*2\r\n"+text(2)+text(9)) + entryOf("*2\r\n"+text(2)+text(8)),
			"*2\r\n" + entryOf("*2\r\n"+text(2)+text(8)) + entryOf("*2\r\n"+text(2)+text(8)),
		},
		"of the newer protocol": {
			"%1\r\n$1\r\ns\r\n*1\r\n" + entryOf("*2\r\n"+text(7)+text(7)),
			"%1\r\n$1\r\ns\r\n*1\r\n" + entryOf("*2\r\n"+text(7)+text(3)),
		},
		"fields": {
			"*1\r\n" + entryOf(several("*", 5000, text(0))) + text(3),
			"*1\r\n" + entryOf(several("*", maxFields, text(0))) + text(3),
		},
		"fields with fields": {
			"*1\r\n" + entryOf(several("*", 2000, "*1\r\n"+text(1))) + "+OK\r\n",
			"*1\r\n" + entryOf(several("*", maxFields, "*1\r\n"+text(1))) + "+OK\r\n",
		},
		"many entries": {several("*", 3000, text(0)), several("*", 3000, text(0))},
	} {
		if got := passed(t, 10, c.sent); got != c.want {
			t.Errorf("%s: %.200q, want %.200q", name, got, c.want)
		}
	}
}

// drawReply makes a reply, and what of it is within the limit.
func drawReply(t *rapid.T, depth int) string {
	kinds := []string{"text", "line", "null"}
	if depth > 0 {
		kinds = append(kinds, "list", "map")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "text":
		return text(rapid.IntRange(0, 40).Draw(t, "bytes"))
	case "line":
		return rapid.SampledFrom([]string{"+OK\r\n", ":12\r\n", "-ERR no\r\n", "#t\r\n", ",1.5\r\n", "(3\r\n"}).Draw(t, "line")
	case "null":
		return rapid.SampledFrom([]string{"_\r\n", "$-1\r\n", "*-1\r\n"}).Draw(t, "null")
	}
	n := rapid.IntRange(0, 4).Draw(t, "elements")
	head, each := "*", 1
	if rapid.Bool().Draw(t, "map") {
		head, each = "%", 2
	}
	var all bytes.Buffer
	fmt.Fprintf(&all, "%s%d\r\n", head, n)
	for range n * each {
		all.WriteString(drawReply(t, depth-1))
	}
	return all.String()
}

func TestR14RepliesWithinTheBoundPassAsTheyAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sent := drawReply(t, 4) + drawReply(t, 4)
		if got := passed(t, 1000, sent); got != sent {
			t.Fatalf("%q became %q", sent, got)
		}
	})
}

func TestStrangeProtocolIsAnError(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{"HTTP/1.1 400\r\n", "$x\r\n", "\r\n", strings.Repeat("*1\r\n", 20)} {
		if _, err := io.ReadAll(newBounded(wire{from: strings.NewReader(sent)}, 10)); !errors.Is(err, errStrangeProtocol) {
			t.Errorf("%.20q: %v", sent, err)
		}
	}
}

func FuzzReplies(f *testing.F) {
	f.Add("*2\r\n$3\r\nabc\r\n%1\r\n+a\r\n:1\r\n")
	f.Fuzz(func(t *testing.T, sent string) {
		got, _ := io.ReadAll(newBounded(wire{from: strings.NewReader(sent)}, 64))
		if len(got) > len(sent) {
			t.Fatalf("%d bytes of %d", len(got), len(sent))
		}
	})
}

func BenchmarkReplies(b *testing.B) {
	one := "*2\r\n$15\r\n1700000000000-0\r\n*4\r\n$7\r\npayload\r\n" + text(300) + "$9\r\nsignature\r\n" + text(44)
	batch := []byte("%1\r\n$6\r\nstream\r\n" + several("*", 100, one))
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	from := bytes.NewReader(nil)
	conn := newBounded(wire{from: from}, 1<<20)
	into := make([]byte, 64<<10)
	for b.Loop() {
		from.Reset(batch)
		for left := len(batch); left > 0; {
			n, err := conn.Read(into)
			if err != nil {
				b.Fatal(err)
			}
			left -= n
		}
	}
}
