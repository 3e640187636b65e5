package process

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// columns is how wide help is.
const columns = 80

// ParseFlags reads the command line of a service, which takes no arguments beside its flags.
// Asked for help it writes usage and flags to out and returns flag.ErrHelp. What it does not
// understand is a fault of the configuration.
func ParseFlags(flags *flag.FlagSet, usage string, args []string, out io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		known := pflag.NewFlagSet(flags.Name(), pflag.ContinueOnError)
		known.AddGoFlagSet(flags)
		_, _ = fmt.Fprintf(out, "Usage: %s %s\n%s", flags.Name(), usage, known.FlagUsagesWrapped(columns))
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
