package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/urza"
)

func newKernelsShow() *cobra.Command {
	var format terminal.Format
	show := &cobra.Command{
		Use:   "show ID",
		Short: "Show what the library knows about one kernel",
		Args:  cobra.ExactArgs(1),

		ValidArgsFunction: offer(1, kernelIDs),
		RunE: func(command *cobra.Command, ids []string) error {
			return showKernel(command.Context(), ids[0], &format, command.OutOrStdout())
		},
	}
	format.Bind(show)
	return show
}

// kernelDetails is one kernel with what is stored beside its descriptor.
type kernelDetails struct {
	kernelEntry
	Description    string         `json:"description"`
	PrewarmSamples []float64      `json:"prewarm_samples_ms"`
	Extras         map[string]any `json:"extras"`
}

func showKernel(ctx context.Context, id string, format *terminal.Format, out io.Writer) error {
	var record *urza.Record
	err := inLibrary(ctx, func(opened opened) error {
		return opened.ask(ctx, func(ctx context.Context) (err error) {
			record, err = opened.library.Get(ctx, id)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("show kernel: %w", err)
	}
	details := kernelDetails{
		kernelEntry: newKernelEntry(record), Description: record.Descriptor.GetDescription(),
		PrewarmSamples: record.PrewarmSamples, Extras: record.Extras,
	}
	return format.Print(out, details, func(table io.Writer) { detailTable(table, details) })
}

func detailTable(table io.Writer, details kernelDetails) {
	lines := []struct {
		label string
		value any
	}{
		{"blueprint", details.BlueprintID}, {"name", details.Name}, {"tier", details.Tier},
		{"stage", details.Stage}, {"description", details.Description}, {"artifact", details.ArtifactRef},
		{"bytes", details.Bytes}, {"checksum", details.Checksum}, {"guard digest", details.GuardDigest},
		{"compile", fmt.Sprintf("%.3g ms", details.CompileMs)}, {"pre-warm", fmt.Sprintf("%.3g ms", details.PrewarmMs)},
		{"pre-warm runs", len(details.PrewarmSamples)}, {"tags", details.Tags},
		{"approved", details.Approved}, {"set aside", details.SetAside},
	}
	for _, line := range lines {
		terminal.Line(table, line.label, "%v", line.value)
	}
}

func newKernelsVerify() *cobra.Command {
	var format terminal.Format
	verify := &cobra.Command{
		Use:   "verify [ID...]",
		Short: "Read artifacts again and compare them with the catalogue",
		Long: `Reads the artifacts of the named blueprints, or of all of them, and compares
checksum and, where trusted keys are configured, signature. A damaged artifact is
set aside as the service would do it; its row stays.`,
		ValidArgsFunction: offer(most, kernelIDs),
		RunE: func(command *cobra.Command, ids []string) error {
			return verifyKernels(command.Context(), ids, &format, command.OutOrStdout())
		},
	}
	format.Bind(verify)
	return verify
}

// verdictEntry is what a kernel proved to be, as --json prints it.
type verdictEntry struct {
	BlueprintID string `json:"blueprint_id"`
	Sound       bool   `json:"sound"`
	Verdict     string `json:"verdict"`
}

// verifyKernels tells of each kernel once it was read: a library may be large.
func verifyKernels(ctx context.Context, ids []string, format *terminal.Format, out io.Writer) error {
	unsound, entries := 0, []verdictEntry{}
	err := inLibrary(ctx, func(opened opened) error {
		if len(ids) == 0 {
			err := opened.ask(ctx, func(ctx context.Context) (err error) {
				ids, err = allKernels(ctx, opened.library)
				return err
			})
			if err != nil {
				return err
			}
		}
		for _, id := range ids {
			err := opened.library.Verify(ctx, id)
			if errors.Is(err, urza.ErrUnavailable) || ctx.Err() != nil {
				return err
			}
			if err != nil {
				unsound++
			}
			entry := verdictEntry{id, err == nil, soundness(err)}
			if entries = append(entries, entry); format.JSON() {
				continue
			}
			line := func(table io.Writer) { terminal.Row(table, entry.BlueprintID+"  "+entry.Verdict) }
			if err := terminal.Table(out, format.Wide(), line); err != nil {
				return err
			}
		}
		if format.JSON() {
			return terminal.JSON(out, entries)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify kernels: %w", err)
	}
	if unsound > 0 {
		return fmt.Errorf("%d of %d kernels are not sound: esperctl forge compiles those of the catalogue again, "+
			"and others are imported again", unsound, len(ids))
	}
	return nil
}

func allKernels(ctx context.Context, library *urza.Library) (ids []string, err error) {
	records, err := library.List(ctx)
	for _, record := range records {
		ids = append(ids, record.Descriptor.GetBlueprintId())
	}
	return ids, err
}

func soundness(err error) string {
	switch {
	case err == nil:
		return "sound"
	case errors.Is(err, urza.ErrChecksumMismatch):
		return "damaged, set aside"
	case errors.Is(err, urza.ErrArtifactMissing):
		return "artifact missing"
	case errors.Is(err, urza.ErrUnreadable):
		return "cannot be read: " + err.Error()
	case errors.Is(err, urza.ErrUntrusted):
		return "not signed by a trusted key"
	case errors.Is(err, urza.ErrNotFound):
		return "not in the catalogue"
	default:
		return err.Error()
	}
}
