package terminal

import (
	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// UsageError is of a command line that is not understood.
type UsageError struct {
	err  error
	help string // the command that says more
}

// Misused is what is wrong with the line of a command.
func Misused(command *cobra.Command, err error) error { return &UsageError{err, command.CommandPath()} }

func (e *UsageError) Error() string { return e.err.Error() + ": " + e.help + " --help says more" }
func (e *UsageError) Unwrap() error { return e.err }

// Exit is the code of such a line, as that of the services.
func (*UsageError) Exit() int { return process.ExitConfiguration }
