package process

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// ParseFlags reads the command line of a service, which takes no arguments beside its flags.
// Asked for help it writes usage and flags to out and returns flag.ErrHelp. What it does not
// understand is a fault of the configuration.
func ParseFlags(flags *flag.FlagSet, usage string, args []string, out io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(out)
		_, _ = fmt.Fprintf(out, "Usage: %s %s\n", flags.Name(), usage)
		flags.VisitAll(func(f *flag.Flag) { f.Usage = folded(f.Usage) })
		flags.PrintDefaults()
		return flag.ErrHelp
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		return Misconfigured("command line", fmt.Errorf("%w: %s --help says more", err, flags.Name()))
	}
	return nil
}

// usageRoom is what is left of 80 columns behind the indent of a flag's usage.
const usageRoom = 72

// folded breaks a text at its blanks.
func folded(text string) string {
	var lines strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i > 0 && column+1+len(word) > usageRoom:
			lines.WriteString("\n")
			column = 0
		case i > 0:
			lines.WriteString(" ")
			column++
		}
		lines.WriteString(word)
		column += len(word)
	}
	return lines.String()
}
