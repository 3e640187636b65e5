package settings

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// Addr is the host:port of a listener; the empty Addr is a listener turned off.
type Addr string

// UnmarshalText accepts host:port, :port for all interfaces, and off.
func (a *Addr) UnmarshalText(text []byte) error {
	value := string(text)
	if strings.EqualFold(value, off) {
		*a = ""
		return nil
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil || strings.ContainsAny(host, " \t/") {
		return fmt.Errorf("%q is not host:port", value)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q has no port between 0 and 65535", value)
	}
	*a = Addr(value)
	return nil
}

// Sizes is the shape of one example, such as 8x16x16; empty is not given.
type Sizes []int

const (
	maxSizes = 3
	maxSize  = 1 << 16
)

// UnmarshalText accepts one to three sizes from 1 to 65536 with an x between them.
func (s *Sizes) UnmarshalText(text []byte) error {
	words := strings.Split(strings.ToLower(string(text)), "x")
	if len(words) > maxSizes {
		return fmt.Errorf("%q has %d sizes: write 32, 12x32 or 8x16x16", text, len(words))
	}
	sizes := make(Sizes, len(words))
	for i, word := range words {
		size, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || size < 1 || size > maxSize {
			return fmt.Errorf("%q is no shape: write 32, 12x32 or 8x16x16, each size from 1 to %d", text, maxSize)
		}
		sizes[i] = size
	}
	*s = sizes
	return nil
}

// Level is a log level by its Python name; it satisfies slog.Leveler.
type Level slog.Level

// LevelCritical is above slog.LevelError, as CRITICAL is above ERROR in Python.
const LevelCritical = Level(slog.LevelError + 4)

// UnmarshalText accepts Python's level names and slog's, in any case.
func (l *Level) UnmarshalText(text []byte) error {
	switch strings.ToUpper(string(text)) {
	case "DEBUG", "NOTSET":
		*l = Level(slog.LevelDebug)
	case "INFO":
		*l = Level(slog.LevelInfo)
	case "WARNING", "WARN":
		*l = Level(slog.LevelWarn)
	case "ERROR":
		*l = Level(slog.LevelError)
	case "CRITICAL", "FATAL":
		*l = LevelCritical
	default:
		return fmt.Errorf("%q is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL", text)
	}
	return nil
}

// Level returns the level in slog's terms.
func (l Level) Level() slog.Level { return slog.Level(l) }

// String returns slog's name of the level.
func (l Level) String() string { return slog.Level(l).String() }

func parseBool(text string) (any, error) {
	switch strings.ToLower(text) {
	case "1", "t", "true", "y", "yes", "on":
		return true, nil
	case "0", "f", "false", "n", "no", "off":
		return false, nil
	default:
		return false, fmt.Errorf("%q is not true or false", text)
	}
}
