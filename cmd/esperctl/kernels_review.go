package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/urza"
)

func newKernelsApprove() *cobra.Command {
	return &cobra.Command{
		Use:   "approve ID",
		Short: "Approve the artifact that a blueprint has now",
		Long: `Verifies the artifact of a blueprint and records that it is approved. The approval
is of this very artifact: another one must be approved again. A blueprint that asks for
an approval is served after it, or when KARN_APPROVED names it; with
URZA_REQUIRE_APPROVAL only after it.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: offer(1, kernelIDs),
		RunE: func(command *cobra.Command, ids []string) error {
			return review(command.Context(), ids[0], "approved", command.OutOrStdout(), (*urza.Library).Approve)
		},
	}
}

func newKernelsQuarantine() *cobra.Command {
	var release bool
	var reason string
	command := &cobra.Command{
		Use:   "quarantine ID",
		Short: "Take a blueprint out of use, or back into it",
		Long: `Sets a blueprint aside: seeds that ask for its kernel hear missing_artifact until it
is released. Row and artifact stay, and compiling it again does not bring it back.
A running service notices at once. Seeds that have the kernel already keep it.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: offer(1, kernelIDs),
		RunE: func(command *cobra.Command, ids []string) error {
			if release {
				return review(command.Context(), ids[0], "released", command.OutOrStdout(), (*urza.Library).Release)
			}
			setAside := func(library *urza.Library, ctx context.Context, id string) error {
				return library.SetAside(ctx, id, reason)
			}
			return review(command.Context(), ids[0], "set aside", command.OutOrStdout(), setAside)
		},
	}
	command.Flags().BoolVar(&release, "release", false, "take the blueprint back into use")
	command.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return command
}

// review records one decision and says so.
func review(
	ctx context.Context, id, done string, out io.Writer, decide func(*urza.Library, context.Context, string) error,
) error {
	err := inLibrary(ctx, func(opened opened) error { return decide(opened.library, ctx, id) })
	if err != nil {
		return fmt.Errorf("review kernel: %w", err)
	}
	printLine(out, "%s  %s", id, done)
	return nil
}
