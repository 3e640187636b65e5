package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/urza"
)

func newKernels() *cobra.Command {
	kernels := &cobra.Command{Use: "kernels", Short: "Look into the kernel library"}
	var asJSON bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List the stored kernels",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listKernels(command.Context(), asJSON, os.Stdout)
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print a JSON array instead of a table")
	kernels.AddCommand(list)
	return kernels
}

// kernelEntry is one stored kernel as --json prints it.
type kernelEntry struct {
	BlueprintID string  `json:"blueprint_id"`
	Name        string  `json:"name"`
	Tier        string  `json:"tier"`
	Checksum    string  `json:"checksum"`
	ArtifactRef string  `json:"artifact_ref"`
	Bytes       int64   `json:"bytes"`
	GuardDigest string  `json:"guard_digest"`
	CompileMs   float64 `json:"compile_ms"`
	PrewarmMs   float64 `json:"prewarm_ms"`
}

func listKernels(ctx context.Context, asJSON bool, out io.Writer) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	library, err := openLibrary(ctx, resolved)
	if err != nil {
		return err
	}
	records, err := library.List(ctx)
	if err := errors.Join(err, library.Close()); err != nil {
		return fmt.Errorf("list kernels: %w", err)
	}
	entries := make([]kernelEntry, len(records))
	for i, record := range records {
		entries[i] = newKernelEntry(record)
	}
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(entries)
	}
	return printKernels(out, entries)
}

func newKernelEntry(record *urza.Record) kernelEntry {
	return kernelEntry{
		BlueprintID: record.Descriptor.GetBlueprintId(),
		Name:        record.Descriptor.GetName(),
		Tier:        record.Descriptor.GetTier().String(),
		Checksum:    record.Checksum,
		ArtifactRef: record.ArtifactRef,
		Bytes:       record.Bytes,
		GuardDigest: record.GuardDigest,
		CompileMs:   record.CompileMs,
		PrewarmMs:   record.PrewarmMs,
	}
}

func printKernels(out io.Writer, entries []kernelEntry) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "BLUEPRINT\tNAME\tBYTES\tCHECKSUM\tARTIFACT")
	for _, entry := range entries {
		fmt.Fprintf(table, "%s\t%s\t%d\t%.12s\t%s\n", entry.BlueprintID, entry.Name, entry.Bytes, entry.Checksum, entry.ArtifactRef)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print kernels: %w", err)
	}
	return nil
}
