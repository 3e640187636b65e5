package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
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
	var format terminal.Format
	var tier tierFlag
	var tag, text string
	var stage int
	list := &cobra.Command{
		Use:   "list",
		Short: "List the stored kernels",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			query := urza.Query{Tier: tier.tier, Tag: tag, Text: text}
			if command.Flags().Changed("stage") {
				query.Stage = new(uint32(stage))
			}
			return listKernels(command.Context(), query, &format, command.OutOrStdout())
		},
	}
	format.Bind(list)
	tier.bind(list, "only this tier")
	list.Flags().IntVar(&stage, "stage", 0, "only this stage (default: all)")
	list.Flags().StringVar(&tag, "tag", "", "only what has this tag")
	offerTo(list, "tag", tags)
	list.Flags().StringVar(&text, "text", "", "only what has this text in id, name, description or tags")
	return list
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

func listKernels(ctx context.Context, query urza.Query, format *terminal.Format, out io.Writer) error {
	var records []*urza.Record
	err := inLibrary(ctx, func(opened opened) error {
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
	return format.Print(out, entries, func(table io.Writer) { kernelTable(table, entries, format.Wide()) })
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

// shownDigits is how much of a checksum is enough to know it by.
const shownDigits = 12

// kernelTable leaves out, unless it is wide, where the artifacts are.
func kernelTable(table io.Writer, entries []kernelEntry, wide bool) {
	if !wide {
		terminal.Row(table, "BLUEPRINT", "NAME", "BYTES", "CHECKSUM", "REVIEW")
		for _, e := range entries {
			terminal.Row(table, e.BlueprintID, e.Name, e.Bytes, e.Checksum[:min(len(e.Checksum), shownDigits)], e.review())
		}
		return
	}
	terminal.Row(table, "BLUEPRINT", "NAME", "BYTES", "CHECKSUM", "REVIEW", "ARTIFACT")
	for _, e := range entries {
		terminal.Row(table, e.BlueprintID, e.Name, e.Bytes, e.Checksum, e.review(), e.ArtifactRef)
	}
}

// review is what an operator decided.
func (e kernelEntry) review() string {
	var marks []string
	if e.Approved {
		marks = append(marks, "approved")
	}
	if e.SetAside {
		marks = append(marks, "set aside")
	}
	if len(marks) == 0 {
		return "-"
	}
	return strings.Join(marks, "  ")
}

// tierFlag is a flag that takes a tier by its Leyline name, whole or without the prefix.
type tierFlag struct{ tier leyline.BlueprintTier }

const tierPrefix = "BLUEPRINT_TIER_"

func (f *tierFlag) bind(command *cobra.Command, usage string) {
	command.Flags().Var(f, "tier", usage+": safe, experimental or high_risk")
	tiers := []string{"safe", "experimental", "high_risk"}
	_ = command.RegisterFlagCompletionFunc("tier", cobra.FixedCompletions(tiers, cobra.ShellCompDirectiveNoFileComp)) // it is there
}

func (f *tierFlag) String() string {
	if f.tier == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(f.tier.String(), tierPrefix))
}

func (*tierFlag) Type() string { return "string" }

func (f *tierFlag) Set(text string) error {
	name := tierPrefix + strings.TrimPrefix(strings.ToUpper(strings.ReplaceAll(text, "-", "_")), tierPrefix)
	f.tier = leyline.BlueprintTier(leyline.BlueprintTier_value[name])
	if f.tier == leyline.BlueprintTier_BLUEPRINT_TIER_UNSPECIFIED {
		return fmt.Errorf("%q is not a tier: safe, experimental or high_risk", text)
	}
	return nil
}
