package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/tolaria"
	"github.com/esper-lite/weatherlight/weatherlight"
)

// demoOptions are the flags of the demo.
type demoOptions struct {
	seed  uint64
	slot  string
	json  bool
	curve string
}

func newDemo() *cobra.Command {
	var options demoOptions
	command := &cobra.Command{
		Use:   "demo",
		Short: "Boot the foundation and grow a real network through it",
		Long: `Boots the very service that esper-weatherlight-service runs, on the embedded
broker (or on REDIS_URL when it is set), compiles its kernels, trains a small
network on handwritten digits, and lets it grow through the bus.

Everything it writes goes into a temporary folder that it removes at the end.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return runDemo(command.Context(), options, os.Stdout)
		},
	}
	command.Flags().Uint64Var(&options.seed, "seed", 1, "seed of the run; the same seed repeats it")
	command.Flags().StringVar(&options.slot, "slot", "32",
		"shape of the layer that seeds grow at: features (32), sequence x width (4x8) or channels x height x width (2x4x4)")
	command.Flags().BoolVar(&options.json, "json", false, "print one JSON object instead of the progress")
	command.Flags().StringVar(&options.curve, "curve", "", "write the accuracy curve as an SVG to this file")
	return command
}

// demo is one run: the service, and the trainer that is its client.
type demo struct {
	options demoOptions
	screen  *screen
	service *weatherlight.Service
	graft   *kasmina.Graft
	client  *client
	trainer *tolaria.Trainer
	begun   time.Time
}

// runDemo runs the demo and stops the service again, whatever came of it.
func runDemo(ctx context.Context, options demoOptions, out io.Writer) error {
	folder, err := os.MkdirTemp("", "esper-demo-")
	if err != nil {
		return fmt.Errorf("make temporary folder: %w", err)
	}
	defer os.RemoveAll(folder)
	demo := &demo{options: options, screen: newScreen(out, options.json), begun: time.Now()}
	resolved, err := demoSettings(folder, options.slot)
	if err != nil {
		return err
	}
	demo.service, err = weatherlight.New(weatherlight.Config{
		Settings: resolved,
		Logger:   process.NewLogger(os.Stderr, slog.LevelWarn),
		OnBoot:   demo.screen.boot,
		OnForge:  demo.screen.forge,
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() {
		err := demo.service.Run(ctx)
		stop() // A service that ends takes the run with it.
		stopped <- err
	}()
	report, failure := demo.run(ctx, resolved)
	stop()
	if err := <-stopped; err != nil {
		return err
	}
	if failure != nil {
		return failure
	}
	return demo.finish(report)
}

// demoSettings are those of the service, with a secret, folders and ports that
// belong to this run alone. REDIS_URL is taken from the environment, and the
// secret with it, so that the demo can join a bus that has one.
func demoSettings(folder, slot string) (*settings.Settings, error) {
	secret, bus := rand.Text(), "embedded:"
	own, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: os.DevNull})
	if err != nil {
		return nil, err
	}
	if isSet(own, "REDIS_URL") {
		bus = own.Redis.URL.Reveal()
		if isSet(own, settings.SecretEnv) {
			secret = own.Secret.Reveal()
		}
	}
	return settings.Load(settings.Options{
		EnvFile: os.DevNull,
		Environ: []string{
			"ESPER_LEYLINE_SECRET=" + secret,
			"REDIS_URL=" + bus,
			"WEATHERLIGHT_DATA_DIR=" + filepath.Join(folder, "weatherlight"),
			"WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0",
			"TEZZERET_SLOT=" + slot,
			"URZA_DATABASE_URL=sqlite:///" + filepath.Join(folder, "urza", "catalog.db"),
			"URZA_ARTIFACT_DIR=" + filepath.Join(folder, "urza", "artifacts"),
			"TAMIYO_POLICY_DIR=" + filepath.Join(folder, "tamiyo", "policies"),
		},
	})
}

// isSet says whether a variable is set in the environment.
func isSet(resolved *settings.Settings, variable string) bool {
	return slices.ContainsFunc(resolved.Fields(), func(field settings.Field) bool {
		return field.Env == variable && field.Source == settings.SourceEnvironment
	})
}

// run trains through the service and reports what came of it.
func (d *demo) run(ctx context.Context, resolved *settings.Settings) (*report, error) {
	select {
	case <-d.service.Ready():
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	d.screen.ready(d.service)
	if err := d.connect(ctx, resolved); err != nil {
		return nil, err
	}
	defer d.client.close()
	select {
	case <-d.service.Forged():
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	d.screen.forged(d.service.ForgeResult())
	latencies, err := d.client.prefetchAll(ctx, d.service.ForgeResult().Compiled)
	if err != nil {
		return nil, fmt.Errorf("prefetch kernels: %w", err)
	}
	result, err := d.trainer.Run(ctx)
	if err != nil {
		return nil, err
	}
	return d.report(result, latencies), nil
}

// connect joins the bus as a trainer does, and registers the trainer's host.
func (d *demo) connect(ctx context.Context, resolved *settings.Settings) error {
	var err error
	if d.client, err = newClient(ctx, d.service.BusURL(), resolved.Secret.Reveal()); err != nil {
		return err
	}
	d.graft = kasmina.NewGraft(tolaria.LayerNames(), resolved.Tezzeret.SlotSizes()...)
	host := tolaria.HostConfig{Features: d.graft.Size()}
	d.trainer, err = tolaria.NewTrainer(tolaria.Config{
		Graft:   d.graft,
		Bus:     d.client,
		Host:    host,
		Seed:    d.options.seed,
		RunID:   fmt.Sprintf("demo-%d-%.6s", d.options.seed, rand.Text()),
		Settle:  d.client.settle,
		OnEpoch: d.screen.epoch,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("set up trainer: %w", err), d.client.close())
	}
	d.client.follow(d.trainer.RunID(), d.screen.stage)
	if err := d.service.RegisterHost(ctx, d.graft); err != nil {
		return errors.Join(err, d.client.close())
	}
	return nil
}
