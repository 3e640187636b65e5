package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// redisClient speaks RESP2 over one connection, which it opens when it needs it.
type redisClient struct {
	t    testing.TB
	addr string
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
}

// redisError is an error reply.
type redisError string

func (e redisError) Error() string { return string(e) }

func newRedisClient(t testing.TB, addr string) *redisClient {
	c := &redisClient{t: t, addr: addr}
	t.Cleanup(c.close)
	return c
}

func (c *redisClient) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// do runs one command; a failure fails the test.
func (c *redisClient) do(args ...string) any {
	c.t.Helper()
	replies, err := c.pipeline([][]string{args})
	if err != nil {
		c.t.Fatalf("redis %s: %v", args[0], err)
	}
	return replies[0]
}

// pipeline sends all commands before it reads the first reply.
func (c *redisClient) pipeline(commands [][]string) ([]any, error) {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, 5*time.Second)
		if err != nil {
			return nil, err
		}
		c.conn, c.in, c.out = conn, bufio.NewReader(conn), bufio.NewWriter(conn)
	}
	replies, err := c.exchange(commands)
	var refused redisError
	if err != nil && !errors.As(err, &refused) {
		c.close()
	}
	return replies, err
}

func (c *redisClient) exchange(commands [][]string) ([]any, error) {
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	for _, args := range commands {
		fmt.Fprintf(c.out, "*%d\r\n", len(args))
		for _, arg := range args {
			fmt.Fprintf(c.out, "$%d\r\n%s\r\n", len(arg), arg)
		}
	}
	if err := c.out.Flush(); err != nil {
		return nil, err
	}
	replies := make([]any, len(commands))
	var refused error
	for i := range replies {
		reply, err := c.read()
		if err != nil {
			return nil, err
		}
		if failure, isError := reply.(redisError); isError {
			refused = failure
		}
		replies[i] = reply
	}
	return replies, refused
}

// read returns a string, an int64, a []any, a redisError or nil.
func (c *redisClient) read() (any, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("reply line %q", line)
	}
	kind, text := line[0], line[1:len(line)-2]
	switch kind {
	case '+':
		return text, nil
	case '-':
		return redisError(text), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || kind == ':' {
		return n, err
	}
	if n < 0 {
		return nil, nil //nolint:nilnil // the null reply
	}
	if kind == '$' {
		body := make([]byte, n+2)
		_, err := io.ReadFull(c.in, body)
		return string(body[:n]), err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = c.read(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// entry is one entry of a stream.
type entry struct {
	id     string
	fields map[string]string
}

// entries reads a whole stream.
func (c *redisClient) entries(stream string) []entry {
	c.t.Helper()
	list, _ := c.do("XRANGE", stream, "-", "+").([]any)
	entries := make([]entry, len(list))
	for i, item := range list {
		pair := item.([]any)
		entries[i] = entry{id: pair[0].(string), fields: pairsOf(pair[1])}
	}
	return entries
}

// pairsOf turns a flat list of names and values into a map of their texts.
func pairsOf(reply any) map[string]string {
	list, _ := reply.([]any)
	pairs := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		pairs[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return pairs
}

func (c *redisClient) length(stream string) int {
	c.t.Helper()
	n, _ := c.do("XLEN", stream).(int64)
	return int(n)
}

// group returns what XINFO GROUPS says of one group, nil when there is none.
func (c *redisClient) group(stream, name string) map[string]string {
	c.t.Helper()
	list, _ := c.do("XINFO", "GROUPS", stream).([]any)
	for _, item := range list {
		if group := pairsOf(item); group["name"] == name {
			return group
		}
	}
	return nil
}
