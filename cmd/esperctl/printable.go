package main

import (
	"fmt"
	"io"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// printLine prints a line of a format. The texts among its values come
// from outside: what a terminal would obey in them is escaped.
func printLine(out io.Writer, format string, values ...any) {
	for i, value := range values {
		switch value.(type) {
		case string, []string, error, fmt.Stringer:
			values[i] = process.Printable(fmt.Sprint(value))
		}
	}
	fmt.Fprintf(out, format+"\n", values...)
}
