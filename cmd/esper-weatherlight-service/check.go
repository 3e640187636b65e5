package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// checkError says that checks failed. It knows whose business they are.
type checkError struct {
	failed        []string
	configuration bool
}

func (e *checkError) Error() string { return "checks failed: " + strings.Join(e.failed, ", ") }

// Exit is the code of a start that would fail for the same reason.
func (e *checkError) Exit() int {
	if e.configuration {
		return process.ExitConfiguration
	}
	return process.ExitDependency
}

// check runs the preflight alone and prints its table.
func check(ctx context.Context, out io.Writer) error {
	// A missing secret is one line of the table, not the end of it.
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	checks := preflight.Run(ctx, resolved)
	if err := printChecks(out, checks); err != nil {
		return err
	}
	failure := &checkError{}
	for _, check := range checks {
		if check.Result == preflight.Failed {
			failure.failed = append(failure.failed, check.Name)
			failure.configuration = failure.configuration || check.Configuration
		}
	}
	if len(failure.failed) == 0 {
		return nil
	}
	return failure
}

func printChecks(out io.Writer, checks []preflight.Check) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CHECK\tRESULT\tDETAIL")
	for _, check := range checks {
		fmt.Fprintf(table, "%s\t%s\t%s\n", check.Name, check.Result, process.OneLine(check.Detail))
	}
	return errors.Join(table.Flush())
}
