package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza"
)

func newKernels() *cobra.Command {
	kernels := &cobra.Command{Use: "kernels", Short: "Look into the kernel library and look after it"}
	kernels.AddCommand(newKernelsList(), newKernelsShow(), newKernelsVerify(), newKernelsImport(),
		newKernelsExport(), newKernelsApprove(), newKernelsQuarantine())
	return kernels
}

func newKernelsList() *cobra.Command {
	var asJSON bool
	var tier, tag, text string
	var stage int
	list := &cobra.Command{
		Use:   "list",
		Short: "List the stored kernels",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			query, err := newQuery(tier, stage, tag, text)
			if err != nil {
				return err
			}
			return listKernels(command.Context(), query, asJSON, command.OutOrStdout())
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print a JSON array instead of a table")
	list.Flags().StringVar(&tier, "tier", "", "only this tier: safe, experimental or high_risk")
	list.Flags().IntVar(&stage, "stage", -1, "only this stage")
	list.Flags().StringVar(&tag, "tag", "", "only what has this tag")
	list.Flags().StringVar(&text, "text", "", "only what has this text in id, name, description or tags")
	return list
}

func newQuery(tier string, stage int, tag, text string) (urza.Query, error) {
	query := urza.Query{Tag: tag, Text: text}
	if stage >= 0 {
		wanted := uint32(stage)
		query.Stage = &wanted
	}
	if tier == "" {
		return query, nil
	}
	parsed, err := parseTier(tier)
	query.Tier = parsed
	return query, err
}

// parseTier reads a tier by its Leyline name, whole or without the prefix.
func parseTier(text string) (leyline.BlueprintTier, error) {
	const prefix = "BLUEPRINT_TIER_"
	name := prefix + strings.TrimPrefix(strings.ToUpper(strings.ReplaceAll(text, "-", "_")), prefix)
	tier := leyline.BlueprintTier(leyline.BlueprintTier_value[name])
	if tier == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		return tier, fmt.Errorf("%q is not a tier: safe, experimental or high_risk", text)
	}
	return tier, nil
}

// kernelEntry is one stored kernel as --json prints it.
type kernelEntry struct {
	BlueprintID string   `json:"blueprint_id"`
	Name        string   `json:"name"`
	Tier        string   `json:"tier"`
	Stage       uint32   `json:"stage"`
	Checksum    string   `json:"checksum"`
	ArtifactRef string   `json:"artifact_ref"`
	Bytes       int64    `json:"bytes"`
	GuardDigest string   `json:"guard_digest"`
	CompileMs   float64  `json:"compile_ms"`
	PrewarmMs   float64  `json:"prewarm_ms"`
	Tags        []string `json:"tags,omitempty"`
	Approved    bool     `json:"approved"`
	SetAside    bool     `json:"set_aside"`
}

func listKernels(ctx context.Context, query urza.Query, asJSON bool, out io.Writer) error {
	var records []*urza.Record
	err := withLibrary(ctx, func(opened opened) error {
		return opened.ask(ctx, func(ctx context.Context) (err error) {
			records, err = opened.library.Find(ctx, query)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("list kernels: %w", err)
	}
	entries := make([]kernelEntry, len(records))
	for i, record := range records {
		entries[i] = newKernelEntry(record)
	}
	if asJSON {
		return printJSON(out, entries)
	}
	return printKernels(out, entries)
}

func newKernelEntry(record *urza.Record) kernelEntry {
	return kernelEntry{
		BlueprintID: record.Descriptor.GetBlueprintId(),
		Name:        record.Descriptor.GetName(),
		Tier:        record.Descriptor.GetTier().String(),
		Stage:       record.Descriptor.GetStage(),
		Checksum:    record.Checksum,
		ArtifactRef: record.ArtifactRef,
		Bytes:       record.Bytes,
		GuardDigest: record.GuardDigest,
		CompileMs:   record.CompileMs,
		PrewarmMs:   record.PrewarmMs,
		Tags:        record.Tags(),
		Approved:    record.Approved,
		SetAside:    record.SetAside,
	}
}

func printKernels(out io.Writer, entries []kernelEntry) error {
	return printTable(out, func(table io.Writer) {
		fmt.Fprintln(table, "BLUEPRINT\tNAME\tBYTES\tCHECKSUM\tARTIFACT")
		for _, entry := range entries {
			printLine(table, "%s\t%s\t%d\t%.12s\t%s%s", entry.BlueprintID, entry.Name, entry.Bytes, entry.Checksum,
				entry.ArtifactRef, entry.marks())
		}
	})
}

// marks are what an operator decided, for the end of a line.
func (e kernelEntry) marks() string {
	marks := ""
	if e.Approved {
		marks += "  approved"
	}
	if e.SetAside {
		marks += "  set aside"
	}
	return marks
}
