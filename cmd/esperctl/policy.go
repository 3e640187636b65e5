package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/act"
	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tamiyo/policy/inspect"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

func newPolicy() *cobra.Command {
	policies := &cobra.Command{Use: "policy", Short: "Look into the controller's policies, and say which decides"}
	policies.AddCommand(newPolicyList(), newPolicyShow(), newPolicyCompare(), newPolicyPublish(),
		newPolicyAction("shadow", "Have a policy asked beside what decides, and told of",
			func() journal.Action { return journal.ToShadow }),
		newPolicyActivate(),
		newPolicyRollback(), newPolicyTrain())
	return policies
}

func newPolicyList() *cobra.Command {
	var format terminal.Format
	list := &cobra.Command{
		Use:   "list",
		Short: "List the policies that TAMIYO_POLICY_DIR keeps",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return withPolicies(func(_ string, kept []inspect.Kept) error { return listPolicies(kept, &format, command.OutOrStdout()) })
		},
	}
	format.Bind(list)
	return list
}

func newPolicyShow() *cobra.Command {
	var format terminal.Format
	show := &cobra.Command{
		Use:   "show POLICY",
		Short: "Show one policy, by its digest or id",
		Args:  cobra.ExactArgs(1),

		ValidArgsFunction: offer(1, policyIDs),
		RunE: func(command *cobra.Command, args []string) error {
			return withPolicies(func(dir string, kept []inspect.Kept) error {
				return showPolicy(dir, kept, args[0], &format, command.OutOrStdout())
			})
		},
	}
	format.Bind(show)
	return show
}

// withPolicies looks at the folder of the policies.
func withPolicies(look func(dir string, kept []inspect.Kept) error) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	kept, err := inspect.Folder(resolved.Tamiyo.PolicyDir)
	if err != nil {
		return err
	}
	return look(resolved.Tamiyo.PolicyDir, kept)
}

// policyEntry is one policy as --json prints it.
type policyEntry struct {
	ID         string    `json:"policy_id"`
	Version    string    `json:"tamiyo_policy_version"`
	Run        string    `json:"training_run_id,omitempty"`
	Digest     string    `json:"digest,omitempty"`
	Bytes      int       `json:"bytes"`
	IssuedAt   time.Time `json:"issued_at"`
	AcceptedAt time.Time `json:"accepted_at"`
	Roles      []string  `json:"roles"`
}

func newPolicyEntry(k inspect.Kept) policyEntry {
	return policyEntry{
		ID: k.Metadata.GetPolicyId(), Version: k.Metadata.GetTamiyoPolicyVersion(), Run: k.Metadata.GetTrainingRunId(),
		Digest: k.Digest, Bytes: k.Size, IssuedAt: k.Metadata.GetIssuedAt().AsTime(), AcceptedAt: k.AcceptedAt, Roles: k.Roles,
	}
}

func listPolicies(kept []inspect.Kept, format *terminal.Format, out io.Writer) error {
	entries := []policyEntry{}
	for _, k := range kept {
		entries = append(entries, newPolicyEntry(k))
	}
	return format.Print(out, entries, func(table io.Writer) { policyTable(table, entries, format.Wide()) })
}

func policyTable(table io.Writer, entries []policyEntry, wide bool) {
	terminal.Row(table, "POLICY", "VERSION", "DIGEST", "BYTES", "ISSUED", "ROLES")
	for _, e := range entries {
		digest, issued := e.Digest, time.RFC3339
		if !wide {
			digest, issued = digest[:min(len(digest), shownDigits)], time.DateOnly
		}
		terminal.Row(table, e.ID, e.Version, digest, e.Bytes, e.IssuedAt.Format(issued), strings.Join(e.Roles, ", "))
	}
}

// policyDetails is one policy as show --json prints it.
type policyDetails struct {
	policyEntry

	Payload string `json:"payload"` // what it can do
}

func showPolicy(dir string, kept []inspect.Kept, name string, format *terminal.Format, out io.Writer) error {
	found, err := namedPolicy(kept, name)
	if err != nil {
		return err
	}
	e := newPolicyEntry(found)
	verdict := "decides nothing: it has no payload"
	if e.Digest != "" {
		verdict = "can decide"
		if err := inspect.Usable(dir, found); err != nil {
			verdict = "decides nothing: " + err.Error()
		}
	}
	return format.Print(out, policyDetails{e, verdict}, func(table io.Writer) {
		row := func(label, text string) { terminal.Line(table, label, "%s", text) }
		row("policy", e.ID)
		row("version", e.Version)
		row("run", e.Run)
		row("digest", e.Digest)
		row("bytes", fmt.Sprint(e.Bytes))
		row("issued", e.IssuedAt.Format(time.RFC3339))
		row("accepted", e.AcceptedAt.Format(time.RFC3339))
		row("roles", strings.Join(e.Roles, ", "))
		row("payload", verdict)
	})
}

// namedPolicy is the policy of a digest, the beginning of one, or an id; of several the one
// issued last.
func namedPolicy(kept []inspect.Kept, name string) (inspect.Kept, error) {
	matching := slices.DeleteFunc(slices.Clone(kept), func(k inspect.Kept) bool {
		return k.Metadata.GetPolicyId() != name && (len(name) < 8 || !strings.HasPrefix(k.Digest, strings.ToLower(name)))
	})
	if len(matching) == 0 {
		return inspect.Kept{}, fmt.Errorf("no policy %q is kept here: esperctl policy list shows those that are", name)
	}
	return slices.MaxFunc(matching, func(a, b inspect.Kept) int {
		return a.Metadata.GetIssuedAt().AsTime().Compare(b.Metadata.GetIssuedAt().AsTime())
	}), nil
}

func newPolicyPublish() *cobra.Command {
	update := &leyline.PolicyUpdate{Version: 1}
	const short = "Publish a policy: it is stored, and decides nothing yet"
	publish := &cobra.Command{
		Use: "publish FILE", Short: short, Long: short + ". It prints its digest.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: offerFile,
	}
	act.Policy(publish, func(ctx context.Context, args []string) (issued time.Time, digest string, err error) {
		payload, err := os.ReadFile(args[0])
		if err == nil && len(payload) == 0 {
			err = errEmpty
		}
		if err != nil {
			return issued, "", process.CannotRead(args[0], err)
		}
		resolved, err := settingsToAct()
		if err != nil {
			return issued, "", err
		}
		if err := publishable(resolved.Tamiyo, update, payload); err != nil {
			return issued, "", fmt.Errorf("%s: %w", args[0], err)
		}
		if _, err := network.Read(payload); err != nil {
			fmt.Fprintf(publish.ErrOrStderr(), "%s can be stored, and can never decide: %v\n", args[0], err)
		}
		issued, err = publishPolicy(ctx, resolved, update, payload)
		return issued, payloads.ReferTo(payload).Checksum, err
	})
	publish.Flags().StringVar(&update.PolicyId, "id", "", "name of the policy")
	publish.Flags().StringVar(&update.TamiyoPolicyVersion, "policy-version", "", "its version, as decisions will name it")
	publish.Flags().StringVar(&update.TrainingRunId, "run", "", "the run that it was trained in")
	_ = publish.RegisterFlagCompletionFunc("run", offerRuns)                          // it is there
	_, _ = publish.MarkFlagRequired("id"), publish.MarkFlagRequired("policy-version") // both are there
	return publish
}

// publishable says before anything is sent, or laid into the library, what every leader would refuse.
func publishable(of settings.Tamiyo, update *leyline.PolicyUpdate, payload []byte) error {
	config := policy.Config{}
	if of.VerifyUpdates {
		config.Rules = tamiyo.DefaultPolicyVersion
	}
	if reason := config.Unfit(update.GetTamiyoPolicyVersion(), len(payload)); reason != "" {
		return fmt.Errorf("it would be refused: %s; docs/controller.md says what that means", reason)
	}
	return nil
}

// inEnvelope is the largest payload that travels in its envelope, in bytes; a larger one is
// laid into the kernel library and referred to.
const inEnvelope = 128 << 10

func publishPolicy(
	ctx context.Context, resolved *settings.Settings, update *leyline.PolicyUpdate, payload []byte,
) (issued time.Time, err error) {
	var attributes map[string]string
	update.Payload = payload
	if len(payload) > inEnvelope {
		err := withLibrary(ctx, func(o opened) error {
			_, err := o.library.SavePayload(ctx, payload)
			return err
		})
		if err != nil {
			return issued, err
		}
		update.Payload, attributes = nil, payloads.ReferTo(payload).Attributes()
	}
	return sendPolicy(ctx, resolved, update, attributes)
}

func sendPolicy(
	ctx context.Context, resolved *settings.Settings, update *leyline.PolicyUpdate, attributes map[string]string,
) (issued time.Time, err error) {
	err = joined(ctx, resolved, func(bus *oona.Client, _ *signing.Keyring) error {
		issued = bus.Now()
		update.IssuedAt = timestamppb.New(issued)
		return bus.Publish(ctx, oona.Message{Payload: update, Attributes: attributes})
	})
	return issued, err
}

func newPolicyActivate() *cobra.Command {
	uncompared := false
	activate := newPolicyAction("activate", "Have the policy decide that stands in the shadow", func() journal.Action {
		if uncompared {
			return journal.ActivateUncompared
		}
		return journal.Activate
	})
	activate.Flags().BoolVar(&uncompared, "uncompared", false, "activate it though no run was decided beside it in the shadow")
	return activate
}

// newPolicyAction is a command that has something done with one policy; asked says what, once the flags were read.
func newPolicyAction(name, short string, asked func() journal.Action) *cobra.Command {
	command := &cobra.Command{
		Use:   name + " POLICY",
		Short: short,
		Long: short + `.
POLICY is a digest in full, or the id or the beginning of the digest of one that
TAMIYO_POLICY_DIR keeps.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: offer(1, policyIDs),
	}
	act.Policy(command, func(ctx context.Context, args []string) (issued time.Time, _ string, err error) {
		resolved, err := settingsToAct()
		if err != nil {
			return issued, "", err
		}
		digest, err := digestOf(resolved.Tamiyo.PolicyDir, args[0])
		if err != nil {
			return issued, "", err
		}
		action := asked()
		issued, err = sendPolicy(ctx, resolved, &leyline.PolicyUpdate{Version: 1, PolicyId: string(action)}, action.Attributes(digest))
		return issued, "", err
	})
	return command
}

// digestOf is the digest that a name is, or that of the policy of that name in a folder.
func digestOf(dir, name string) (string, error) {
	digest := strings.ToLower(name)
	if raw, err := hex.DecodeString(digest); err == nil && len(raw) == 32 {
		return digest, nil
	}
	kept, err := inspect.Folder(dir)
	if err != nil {
		return "", err
	}
	found, err := namedPolicy(kept, name)
	if err == nil && found.Digest == "" {
		err = errors.New("that policy was announced and has no payload: name one that esperctl policy list shows with a digest")
	}
	return found.Digest, err
}

func newPolicyRollback() *cobra.Command {
	const short = "Have the policy decide that decided before, or the rules alone"
	command := &cobra.Command{Use: "rollback", Short: short, Long: short + ".", Args: cobra.NoArgs}
	act.Policy(command, func(ctx context.Context, _ []string) (issued time.Time, _ string, err error) {
		resolved, err := settingsToAct()
		if err != nil {
			return issued, "", err
		}
		update := &leyline.PolicyUpdate{Version: 1, PolicyId: string(journal.RollBack)}
		issued, err = sendPolicy(ctx, resolved, update, journal.RollBack.Attributes(""))
		return issued, "", err
	})
	return command
}
