package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/tamiyo/policy/learn"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
)

func newPolicyTrain() *cobra.Command {
	var from []string
	var out string
	var seed uint64
	train := &cobra.Command{
		Use:   "train",
		Short: "Fit a policy to recorded runs, and write it if it beats the rules",
		Long: `Fits a policy to recorded runs: files that Nissa exported, folders of such files (*.jsonl), and
Nissas, by their addresses. It is judged by runs that it was not fitted to, beside the rules'
own worth of blueprints, and written only when it is better beyond chance.
Exit codes: 0 it is, and was written, 1 it is not, 3 too little is recorded to tell.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := writable(out); err != nil {
				return err
			}
			runs, err := recordedFrom(command.Context(), from)
			if err != nil {
				return err
			}
			return trainPolicy(command.Context(), runs, out, seed, command.OutOrStdout())
		},
	}
	train.Flags().StringSliceVar(&from, "from", nil, "files, folders and addresses of Nissas")
	train.Flags().StringVar(&out, "out", "", "where the policy is written")
	train.Flags().Uint64Var(&seed, "seed", 1, "of what is drawn by chance: the same seed and runs give the same policy")
	_, _ = train.MarkFlagFilename("from", "jsonl"), train.MarkFlagFilename("out", "onnx")
	_, _ = train.MarkFlagRequired("from"), train.MarkFlagRequired("out") // both are there
	return train
}

// writable says before anything is fitted that there is no place for what comes of it.
func writable(file string) error {
	info, err := os.Stat(filepath.Dir(file))
	switch {
	case err != nil:
		return process.CannotWrite(file, err)
	case !info.IsDir():
		return process.CannotWrite(file, syscall.ENOTDIR)
	}
	if err := regularfile.Check(file); err != nil {
		return process.CannotWrite(file, err)
	}
	return nil
}

func trainPolicy(ctx context.Context, runs []transcript.Run, to string, seed uint64, out io.Writer) error {
	data := learn.Gather(runs)
	printLine(out, "%d seeds that came to something, in %d of %d runs; %d decisions come out differently now and are left out",
		data.Decisions, data.Runs, len(runs), data.Unusable)
	policy, v, err := data.Fit(ctx, seed)
	if errors.Is(err, learn.ErrTooLittle) {
		return verdict{fmt.Errorf("%w: name a Nissa with more for --from, or files that esperctl runs export makes", err), exitIncomplete}
	}
	if err != nil {
		return err
	}
	return offerPolicy(policy, v, to, out)
}

// offerPolicy tells how a policy was judged, and writes it when that speaks for it.
func offerPolicy(policy []byte, v learn.Verdict, to string, out io.Writer) error {
	err := terminal.Table(out, false, func(table io.Writer) {
		share := func(of float64) string { return fmt.Sprintf("%.1f %%", 100*of) }
		terminal.Row(table, fmt.Sprintf("of %d choices", v.Choices), "THE BETTER ONE", "REGRET")
		terminal.Row(table, "the rules", share(v.ByRules), fmt.Sprintf("%.4f", v.Regret))
		terminal.Row(table, "the policy", share(v.PolicyRight), fmt.Sprintf("%.4f", v.PolicyRegret))
		terminal.Row(table, "gain", "", fmt.Sprintf("%.4f ± %.4f", v.Gain, v.Noise))
	})
	if err != nil {
		return err
	}
	if !v.Beats() {
		return verdict{errors.New("the policy does not beat the rules beyond twice the noise; nothing is written"), exitNotSo}
	}
	if err := atomicfile.WriteFile(to, policy, 0o644); err != nil {
		return process.CannotWrite(to, err)
	}
	printLine(out, "%s beats the rules on runs that it had not seen. To offer it:", to)
	printLine(out, "  esperctl policy publish %s --id ID --policy-version VERSION", to)
	return nil
}

// recordedFrom reads files, folders of them, and all runs of Nissas.
func recordedFrom(ctx context.Context, places []string) (all []transcript.Run, err error) {
	for _, place := range places {
		var runs []transcript.Run
		switch info, statErr := os.Stat(place); {
		case strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://"):
			runs, err = allOf(ctx, place)
		case statErr == nil && info.IsDir():
			runs, err = recordedBelow(place)
		default:
			runs, err = recordedIn(place)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, runs...)
	}
	return all, nil
}

func recordedBelow(folder string) (all []transcript.Run, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	for _, file := range files {
		runs, readErr := recordedIn(file)
		if readErr != nil {
			return nil, readErr
		}
		all = append(all, runs...)
	}
	return all, err
}

// allOf are the runs that a Nissa keeps.
func allOf(ctx context.Context, address string) (all []transcript.Run, err error) {
	nissa, err := nissaAt(address)
	if err != nil {
		return nil, err
	}
	for query := (url.Values)(nil); ; {
		var page struct {
			Runs []struct {
				ID string `json:"id"`
			} `json:"runs"`
			Next string `json:"next"`
		}
		if err := nissa.Get(ctx, "/api/runs", query, &page); err != nil {
			return nil, err
		}
		for _, r := range page.Runs {
			runs, err := exported(ctx, nissa, r.ID)
			if err != nil {
				return nil, err
			}
			all = append(all, runs...)
		}
		if page.Next == "" {
			return all, nil
		}
		query = url.Values{"before": {page.Next}}
	}
}
