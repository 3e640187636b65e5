package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza"
)

// importing is what the flags of kernels import say.
type importing struct {
	file, blueprint, name string
	tier                  tierFlag
}

func newKernelsImport() *cobra.Command {
	wanted := importing{tier: tierFlag{leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL}}
	command := &cobra.Command{
		Use:   "import FILE --blueprint ID",
		Short: "Store a file as the kernel of a blueprint",
		Long: `Stores any file as the kernel of a blueprint, in place of the one it had, and
announces it on the bus when REDIS_URL can be reached. What is not a kernel of the
ONNX profile, like a PyTorch .pt file, is stored and served as opaque bytes.
A blueprint that is neither in Karn's catalogue nor in the library gets the given
name and tier.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: offerFile,
		RunE: func(command *cobra.Command, files []string) error {
			wanted.file = files[0]
			return importKernel(command.Context(), wanted, command.OutOrStdout())
		},
	}
	command.Flags().StringVar(&wanted.blueprint, "blueprint", "", "the blueprint that the file is the kernel of")
	command.Flags().StringVar(&wanted.name, "name", "", "name of a new blueprint (default: that of the file)")
	wanted.tier.bind(command, "tier of a new blueprint")
	offerTo(command, "blueprint", anyBlueprint)
	if err := command.MarkFlagRequired("blueprint"); err != nil {
		panic(err) // impossible: the flag is defined above
	}
	return command
}

func importKernel(ctx context.Context, wanted importing, out io.Writer) error {
	content, err := readImport(wanted.file)
	if err != nil {
		return fmt.Errorf("import kernel: %w", process.CannotRead(wanted.file, err))
	}
	err = withLibrary(ctx, func(opened opened) error {
		descriptor, err := describe(ctx, opened.library, wanted)
		if err != nil {
			return err
		}
		update := &leyline.KernelCatalogUpdate{BlueprintId: wanted.blueprint, ArtifactRef: wanted.file}
		extras := map[string]any{"imported_from": filepath.Base(wanted.file)}
		saved, err := opened.library.Save(ctx, descriptor, content, update, extras)
		if err != nil {
			return err
		}
		printLine(out, "%s  %s\n%s", wanted.blueprint, saved.GetChecksum(), saved.GetArtifactRef())
		if _, err := kernel.Load(content); err != nil {
			printLine(out, "stored as opaque bytes, our engine cannot run it: %v", err)
		}
		announce, leave := announcer(ctx, opened.settings, screen{terminal.NewLines(out, false)})
		err = announce(ctx, saved)
		if errors.Is(err, errNoBus) { // said already
			err = nil
		}
		return errors.Join(err, leave())
	})
	if err != nil {
		return fmt.Errorf("import kernel: %w", err)
	}
	return nil
}

var errEmpty = errors.New("it is empty")

// maxImport bounds a file that is imported or exported: it is held in memory whole.
const maxImport = 1 << 30

// readImport reads a file whose size is within what can be a kernel.
func readImport(name string) ([]byte, error) {
	bound, why := int64(maxImport), "the most that is stored as opaque bytes"
	if strings.EqualFold(filepath.Ext(name), ".onnx") {
		bound, why = kernel.MaxFileBytes, "the most that the ONNX profile allows"
	}
	content, err := regularfile.Read(name, bound)
	if errors.Is(err, regularfile.ErrTooLarge) {
		err = fmt.Errorf("%w, %s", err, why)
	}
	if err == nil && len(content) == 0 {
		err = errEmpty
	}
	return content, err
}

// describe finds the blueprint in Karn's catalogue or in the library, or makes one.
func describe(ctx context.Context, library *urza.Library, wanted importing) (*leyline.BlueprintDescriptor, error) {
	if known, err := karn.NewCatalog().Get(wanted.blueprint); err == nil {
		return known, nil
	}
	record, err := library.Get(ctx, wanted.blueprint)
	if err == nil {
		return record.Descriptor, nil
	}
	if !errors.Is(err, urza.ErrNotFound) {
		return nil, err
	}
	if wanted.name == "" {
		base := filepath.Base(wanted.file)
		wanted.name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	return &leyline.BlueprintDescriptor{BlueprintId: wanted.blueprint, Name: wanted.name, Tier: wanted.tier.tier}, nil
}

func newKernelsExport() *cobra.Command {
	return &cobra.Command{
		Use:   "export ID FILE",
		Short: "Write the artifact of a blueprint to a file, after verifying it",
		Long: `Writes the artifact of a blueprint to a file, after verifying it. A file that is
there is replaced; a device, a pipe or a folder is not. With "-" the artifact goes
to standard output, and what is said of it to standard error.`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(command *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault // a file
			}
			return offer(1, kernelIDs)(command, args, begun)
		},
		RunE: func(command *cobra.Command, arguments []string) error {
			id, file := arguments[0], arguments[1]
			if file == "-" {
				return exportKernel(command.Context(), id, toStream(command.OutOrStdout()), command.ErrOrStderr())
			}
			return exportKernel(command.Context(), id, toFile(file), command.OutOrStdout())
		},
	}
}

// destination takes an artifact, and says where it went.
type destination func(content []byte) (where string, err error)

func toStream(out io.Writer) destination {
	return func(content []byte) (string, error) {
		_, err := out.Write(content)
		return "-", err
	}
}

func toFile(file string) destination {
	return func(content []byte) (string, error) {
		if err := atomicfile.WriteFile(file, content, 0o644); err != nil {
			return "", process.CannotWrite(file, err)
		}
		return file, nil
	}
}

func exportKernel(ctx context.Context, id string, put destination, out io.Writer) error {
	err := inLibrary(ctx, func(opened opened) error {
		if err := opened.library.Verify(ctx, id); err != nil {
			return err
		}
		record, err := opened.library.Get(ctx, id)
		if err != nil {
			return err
		}
		artifact, err := opened.library.OpenArtifact(ctx, record.ArtifactRef)
		if err != nil {
			return err
		}
		content, err := regularfile.ReadAll(artifact, maxImport)
		if err = errors.Join(err, artifact.Close()); err != nil {
			return err
		}
		where, err := put(content)
		if err != nil {
			return err
		}
		printLine(out, "%s  %s  %d bytes", where, record.Checksum, record.Bytes)
		return nil
	})
	if err != nil {
		return fmt.Errorf("export kernel: %w", err)
	}
	return nil
}
