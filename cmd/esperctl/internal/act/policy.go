package act

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// ofPolicy asks what the leader made of an update of policies, by when it was issued.
func ofPolicy(issued time.Time) question {
	id := strconv.FormatInt(issued.UnixNano(), 10)
	return question{id, "It waits on the bus for a leader", func(e event) (string, error) {
		switch {
		case e.Details["issued_at_ns"] != id:
			return "", nil
		case e.Name == "policy_update_rejected":
			return "", &refusedError{e.Details["reason"], "", "controller.md"}
		case e.Details["digest"] != "":
			return "taken: " + e.Name, nil
		default:
			return fmt.Sprintf("taken: %s; active is %s, in the shadow %s", e.Name, e.Details["active"], e.Details["shadow"]), nil
		}
	}}
}

// Policy has a command send an update of policies, and say what came of it. send tells when that
// was issued, and what the command is to answer once it is not refused; it answers what came of it when that
// is empty. That Nissa does not answer, or does not let in, is said and is no reason to
// send nothing: a rollback is asked for in need.
func Policy(command *cobra.Command, send func(ctx context.Context, args []string) (issued time.Time, answer string, err error)) {
	var f flags
	f.bindWait(command)
	command.Long += "\nExit 0 when the leader has taken it, 1 when it has refused it, 3 when nobody has answered within --wait."
	command.RunE = func(command *cobra.Command, args []string) error {
		ctx := command.Context()
		var answers *feed
		if f.wait > 0 {
			answers = orSay(ctx, command.ErrOrStderr())
		}
		issued, answer, err := send(ctx, args)
		if err != nil {
			return err
		}
		said, err := answers.await(ctx, ofPolicy(issued), f.wait)
		if err != nil {
			return err
		}
		if answer != "" {
			fmt.Fprintln(command.ErrOrStderr(), process.Printable(said))
			said = answer
		}
		_, err = fmt.Fprintln(command.OutOrStdout(), process.Printable(said))
		return err
	}
}

// orSay is where the feed stands, or nothing, once it was said why nobody will tell.
func orSay(ctx context.Context, to io.Writer) *feed {
	f, _, err := newFeed(ctx)
	if err != nil {
		fmt.Fprintln(to, process.Printable("what comes of it will not be known: "+err.Error()))
	}
	return f
}
