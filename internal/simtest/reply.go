package simtest

import (
	"errors"
	"strconv"
	"strings"
)

// decodeReply reads a reply in the form of the wire: nil, a string, an int64, an error, or a list of these.
func decodeReply(wire string) any {
	reply, _ := decodePart(wire)
	return reply
}

func decodePart(wire string) (part any, rest string) {
	line, rest, _ := strings.Cut(wire, "\r\n")
	if line == "" {
		return errors.New("bus said nothing"), ""
	}
	kind, line := line[0], line[1:]
	switch kind {
	case '+':
		return line, rest
	case '-':
		return errors.New(line), rest
	}
	n, err := strconv.ParseInt(line, 10, 64)
	switch {
	case err != nil:
		return err, ""
	case kind == ':':
		return n, rest
	case n < 0:
		return nil, rest
	case kind == '$':
		return rest[:n], rest[n+2:]
	}
	parts := make([]any, n)
	for i := range parts {
		parts[i], rest = decodePart(rest)
	}
	return parts, rest
}

// at follows a path of indices into nested lists. What is not there is nil.
func at(reply any, path ...int) any {
	for _, i := range path {
		parts := list(reply)
		if i >= len(parts) {
			return nil
		}
		reply = parts[i]
	}
	return reply
}

func list(reply any) []any {
	parts, _ := reply.([]any)
	return parts
}

func text(reply any) string {
	s, _ := reply.(string)
	return s
}

func number(reply any) int64 {
	n, _ := reply.(int64)
	return n
}
