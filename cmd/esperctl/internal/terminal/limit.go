package terminal

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

// mostRows is how many a service, or the bus, gives at a time.
const mostRows = 1000

// Limit gives a command the flag that bounds its rows, 100 unless it is said.
func Limit(command *cobra.Command, to *int) {
	*to = 100
	command.Flags().Var((*rows)(to), "limit", fmt.Sprintf("at most so many, 1 to %d", mostRows))
}

type rows int

func (r *rows) String() string { return strconv.Itoa(int(*r)) }

func (*rows) Type() string { return "int" }

func (r *rows) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > mostRows {
		return fmt.Errorf("it is no number from 1 to %d", mostRows)
	}
	*r = rows(n)
	return nil
}
