// Package act has the commands by which an operator changes what happens in a run. Each is a
// signed command on the bus, as the controller's are, with who sent it and why: Kasmina decides
// on it, and the feed tells of both.
package act

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// Bus joins the configured bus for one piece of work, with the secret that signs.
type Bus func(ctx context.Context, work func(*oona.Client, *signing.Keyring) error) error

// issuer is who issues an operator's commands.
const issuer = "esperctl"

// order is a command that is not sent yet.
type order struct {
	run, seed   string
	kind        leyline.CommandType
	operation   leyline.SeedOperation // of COMMAND_SEED
	blueprint   string                // likewise, as Nissa knows it
	annotations map[string]string
	reason      string
}

func (o *order) command(now time.Time) *leyline.AdaptationCommand {
	command := &leyline.AdaptationCommand{
		Version: 1, CommandId: issuer + "-" + uuid.NewString(), CommandType: o.kind, TargetSeedId: o.seed,
		IssuedAt: timestamppb.New(now), IssuedBy: issuer,
		Annotations: map[string]string{"reason": o.reason, "operator": operator()},
	}
	if o.run != "" {
		command.Annotations[trainer.AnnotationRun] = o.run
	}
	maps.Copy(command.Annotations, o.annotations)
	if o.kind == leyline.CommandType_COMMAND_SEED {
		command.Payload = &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: o.operation, BlueprintId: o.blueprint,
		}}
	}
	return command
}

// operator is who sits at the terminal, as far as the machine knows.
func operator() string {
	name, host := "somebody", "somewhere"
	if known, err := user.Current(); err == nil {
		name = known.Username
	}
	if known, err := os.Hostname(); err == nil {
		host = known
	}
	return name + "@" + host
}

// flags are those of all acts.
type flags struct {
	reason string
	wait   time.Duration
}

func (f *flags) bind(command *cobra.Command) {
	command.Flags().StringVar(&f.reason, "reason", "", "why, for whoever reads the feed (required)")
	f.bindWait(command)
	_ = command.MarkFlagRequired("reason") // it is there
}

func (f *flags) bindWait(command *cobra.Command) {
	command.Flags().DurationVar(&f.wait, "wait", patience, "how long to wait for what comes of it; 0s does not")
}

// patience is how long an act waits for what comes of it.
const patience = 10 * time.Second

// send signs and sends a command, and says what came of it.
func (f *flags) send(ctx context.Context, bus Bus, o order, out io.Writer) error {
	o.reason = strings.TrimSpace(f.reason)
	feed, err := openFeed(ctx, &o)
	if err != nil {
		return err
	}
	var sent *leyline.AdaptationCommand
	err = bus(ctx, func(client *oona.Client, keyring *signing.Keyring) error {
		sent = o.command(client.Now())
		if err := keyring.SignCommand(sent); err != nil {
			return err
		}
		return client.Publish(ctx, oona.Message{Payload: sent})
	})
	if err != nil {
		return fmt.Errorf("send the command: %w", err)
	}
	said, err := feed.await(ctx, ofCommand(sent.GetCommandId()), f.wait)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, process.Printable(said))
	return err
}

// nissa is where the feed is.
func nissa() (*ask.Service, error) {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return nil, err
	}
	return ask.Nissa(resolved)
}
