package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

var (
	// ErrUnavailable: the server could not be reached, refused, or is not asked.
	ErrUnavailable = errors.New("bus unavailable")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("bus client closed")
)

// ConnectError says which address could not be used, and why. It never holds a
// password.
type ConnectError struct {
	Addr string
	Err  error
}

func (e *ConnectError) Error() string { return fmt.Sprintf("connect to bus at %s: %v", e.Addr, e.Err) }
func (e *ConnectError) Unwrap() error { return e.Err }

// IsReply reports whether an error is the server's answer, and not the want of one.
func IsReply(err error) bool {
	reply, is := errors.AsType[*rueidis.RedisError](err)
	return is && !reply.IsNil()
}

// HasCode reports whether an error is an answer of the server that begins so, or that of
// a command in a script, whose words have others before them.
func HasCode(err error, code string) bool {
	reply, is := errors.AsType[*rueidis.RedisError](err)
	return is && (strings.HasPrefix(reply.Error(), code) || strings.HasPrefix(inScript(reply.Error()), code))
}

// inScript is what a command in a script was answered, where the server says before it what
// script that was, and at which line: Redis before version 7, and the embedded broker.
func inScript(words string) string {
	parts := strings.SplitN(words, ": ", 3)
	running, compiling := strings.HasPrefix(words, "Error running script"), strings.HasPrefix(words, "Error compiling script")
	if len(parts) < 3 || !running && !compiling {
		return words
	}
	return parts[2]
}

// Text is the text of an answer, "" when it is none. The client gives the words of a
// refusal as text, beside the error.
func Text(reply interface{ ToString() (string, error) }) string {
	text, err := reply.ToString()
	if err != nil {
		return ""
	}
	return text
}

// IsStreamFault reports whether the server refused a command for what it found
// under that one key, or may be done with it: the others are as good as before.
func IsStreamFault(err error) bool {
	return HasCode(err, "WRONGTYPE") || HasCode(err, "NOPERM") || IsExhausted(err)
}

// IsExhausted reports whether the server refused an entry because its stream has no more ids.
func IsExhausted(err error) bool {
	return HasCode(err, "ERR The stream has exhausted") || HasCode(err, "The stream has exhausted")
}

// causeOf puts the caller's wish to stop before what came of it.
func causeOf(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}
