// Package demo is the newcomer's first look: it boots the very service that production runs and
// grows real networks through it, in one process, and leaves nothing behind.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/weatherlight"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
)

// demoOptions are the flags of the demo.
type demoOptions struct {
	seed    uint64
	slot    string
	repeats int
	json    bool
	curve   string
	watch   bool
	pace    time.Duration
	join    bool
}

// New is the command.
func New() *cobra.Command {
	var options demoOptions
	command := &cobra.Command{
		Use:   "demo",
		Short: "Boot the foundation and grow real networks through it",
		Long: `Boots the very service that esper-weatherlight-service runs, on an embedded
broker, compiles its kernels, trains a small network on handwritten digits that lie
anywhere, and lets it grow over the bus, as any trainer does. With --join it does so
on the bus that REDIS_URL names, as one more instance with a library of its own. It
leaves no group and no consumer there; what it grew is remembered as any run is. Then it says what growth was worth: beside the same network
trained for as many steps more, and beside one of the grown size trained from the
start with the same number of steps.

Everything it writes goes into a temporary folder that it removes at the end.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if options.watch && !command.Flags().Changed("pace") {
				options.pace = watchPace
			}
			return runDemo(command.Context(), options, os.Stdout)
		},
	}
	command.Flags().Uint64Var(&options.seed, "seed", 1, "seed of the runs; the same seed repeats them")
	command.Flags().StringVar(&options.slot, "slot", "16",
		"shape of the layer that seeds grow behind: features (16), sequence x width (4x4) or channels x height x width (1x4x4)")
	command.Flags().IntVar(&options.repeats, "repeats", 3,
		"how many networks to grow, each from other weights and another split of the data")
	command.Flags().BoolVar(&options.json, "json", false, "print one JSON object instead of the progress")
	command.Flags().StringVar(&options.curve, "curve", "", "write the accuracy curve of the first network as an SVG to this file")
	_ = command.MarkFlagFilename("curve", "svg") // it is there
	command.Flags().BoolVar(&options.watch, "watch", false,
		"show it in a browser: start Nissa (at NISSA_HTTP_ADDR, or at any port), print its address and stay until Ctrl-C")
	command.Flags().DurationVar(&options.pace, "pace", 0, "pause after each epoch; with --watch "+watchPace.String()+" unless it is given")
	command.Flags().BoolVar(&options.join, "join", false,
		"join the bus that REDIS_URL names, with ESPER_LEYLINE_SECRET; without it that bus is left alone")
	command.MarkFlagsMutuallyExclusive("watch", "json")
	return command
}

// demo is one run of the service and the trainers that are its clients.
type demo struct {
	options  demoOptions
	slot     []int
	out      io.Writer
	screen   *screen
	curve    *curveFile
	settings *settings.Settings
	service  *weatherlight.Service
	keyring  *signing.Keyring
	client   *client
	name     string // of this demo alone
	begun    time.Time
	prefetch []time.Duration
}

// runDemo runs the demo and stops the service again, whatever came of it.
func runDemo(ctx context.Context, options demoOptions, out io.Writer) (err error) {
	if options.repeats < 1 || options.repeats > maxRepeats {
		return process.Misconfigured("--repeats", fmt.Errorf("%d: allowed are 1 to %d", options.repeats, maxRepeats))
	}
	curve, err := openCurve(options.curve)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, curve.close(err == nil)) }()
	// A closed pipe is an error of a write, like any other: what the demo has made
	// is still to be removed.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	folder, err := os.MkdirTemp("", "esper-demo-")
	if err != nil {
		return fmt.Errorf("make temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	d := &demo{options: options, screen: newScreen(out, options.json), out: out, curve: curve, begun: time.Now(), name: demoName()}
	d.screen.Broken = cancel
	report, err := d.inService(ctx, folder)
	if err != nil {
		return process.Stopped(ctx, err)
	}
	if options.watch {
		return nil // it is finished already
	}
	return d.finish(report)
}

// maxRepeats bounds how long a demo takes.
const maxRepeats = 100

// demoName names this demo on a bus that may have others.
func demoName() string { return "demo-" + strings.ToLower(rand.Text()[:8]) }

// inService boots the service, grows the networks in it, and stops it again.
func (d *demo) inService(ctx context.Context, folder string) (*report, error) {
	resolved, err := demoSettings(folder, d.name, d.options)
	if err != nil {
		return nil, err
	}
	d.settings, d.slot = resolved, resolved.Tezzeret.SlotSizes()
	if !d.options.join && slices.ContainsFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "REDIS_URL=") }) {
		d.screen.Print("bus    an embedded one: REDIS_URL is left alone (--join joins it)")
	}
	if d.keyring, err = signing.NewKeyring(resolved.Secret.Reveal()); err != nil {
		return nil, err
	}
	d.service, err = weatherlight.New(weatherlight.Config{
		Settings: resolved,
		Logger:   process.NewLogger(os.Stderr, slog.LevelWarn),
		OnBoot:   d.screen.boot,
		OnForge:  d.screen.forge,
	})
	if err != nil {
		return nil, err
	}
	// The service outlives what is done in it: a trainer that is told to stop says
	// so on a bus that is there.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	training, leave := context.WithCancel(ctx)
	defer leave()
	ended := make(chan error, 1)
	go func() {
		err := d.service.Run(serving)
		leave() // A service that ends takes the runs with it.
		ended <- err
	}()
	report, failure := d.grow(training)
	stop()
	if err := <-ended; err != nil {
		return nil, err
	}
	return report, errors.Join(failure, d.leave(ctx))
}

// leave takes the name of the demo's service off a bus that it had joined: it will not come
// back for it.
func (d *demo) leave(ctx context.Context) error {
	if !d.options.join {
		return nil
	}
	// What stopped the demo does not keep it from tidying up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	bus, err := oona.Connect(ctx, oona.Config{
		URL: d.settings.Redis.URL.Reveal(), Group: "esper-" + d.name, Consumer: d.name, Keyring: d.keyring,
	})
	if err != nil {
		return fmt.Errorf("leave the bus: %w", err)
	}
	return errors.Join(bus.Admin().RemoveConsumer(ctx, assembly.Group, d.settings.Weatherlight.Consumer()), bus.Close())
}

// errNowhere is of a demo that is to join a bus and is not told which.
var errNowhere = errors.New("--join joins the bus that it names: set it")

// demoSettings are those of the service, with a name, a secret, folders and ports
// that belong to this demo alone. REDIS_URL is taken from the environment when the demo
// is to join that bus, and the secret with it; so is what says where Nissa listens and whom it lets in, always.
func demoSettings(folder, name string, options demoOptions) (*settings.Settings, error) {
	secret, bus, page := rand.Text(), "embedded:", "127.0.0.1:0"
	own, err := settings.Load(settings.Options{SecretOptional: true, EnvFile: os.DevNull})
	if err != nil {
		return nil, err
	}
	if options.join {
		if !isSet(own, "REDIS_URL") {
			return nil, process.Misconfigured("REDIS_URL", errNowhere)
		}
		bus = own.Redis.URL.Reveal()
		if isSet(own, settings.SecretEnv) {
			secret = own.Secret.Reveal()
		}
	}
	listener := own.Nissa.Listener()
	if isSet(own, "NISSA_HTTP_ADDR") {
		page = string(listener.Addr)
	}
	resolved, err := settings.Load(settings.Options{
		EnvFile: os.DevNull,
		Environ: []string{
			"ESPER_LEYLINE_SECRET=" + secret,
			"REDIS_URL=" + bus,
			"WEATHERLIGHT_INSTANCE=" + name,
			"WEATHERLIGHT_DATA_DIR=" + filepath.Join(folder, "weatherlight"),
			"WEATHERLIGHT_HTTP_ADDR=127.0.0.1:0",
			"TEZZERET_SLOT=" + options.slot,
			"URZA_DATABASE_URL=sqlite:///" + filepath.Join(folder, "urza", "catalog.db"),
			"URZA_ARTIFACT_DIR=" + filepath.Join(folder, "urza", "artifacts"),
			"NISSA_HTTP_ADDR=" + page, "NISSA_HTTP_TOKEN=" + listener.Token.Reveal(), "NISSA_HTTP_TOKEN_FILE=" + listener.TokenFile,
			"NISSA_HTTP_TLS_CERT_FILE=" + listener.CertFile, "NISSA_HTTP_TLS_KEY_FILE=" + listener.KeyFile,
			"NISSA_DATABASE_URL=sqlite:///" + filepath.Join(folder, "nissa", "runs.db"),
			"TAMIYO_POLICY_DIR=" + filepath.Join(folder, "tamiyo", "policies"),
			// What grows must not hang on how busy the machine is.
			"TAMIYO_STEP_TIMEOUT_MS=60000",
		},
	})
	return resolved, asFlags(err)
}

// asFlags names what was given as a flag, not the setting that it becomes.
func asFlags(err error) error {
	faults, are := errors.AsType[*settings.Faults](err)
	if !are {
		return err
	}
	for i := range faults.List {
		if faults.List[i].Env == "TEZZERET_SLOT" {
			faults.List[i].Env = "--slot"
		}
	}
	return faults
}

// isSet says whether a variable is set in the environment.
func isSet(resolved *settings.Settings, variable string) bool {
	return slices.ContainsFunc(resolved.Fields(), func(field settings.Field) bool {
		return field.Env == variable && field.Source == settings.SourceEnvironment
	})
}

// grow joins the bus and grows the networks, in sight of whoever watches.
func (d *demo) grow(ctx context.Context) (_ *report, err error) {
	select {
	case <-d.service.Ready():
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	d.screen.ready(d.service)
	if d.client, err = newClient(ctx, d.service.BusURL(), d.name, d.keyring); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.client.close()) }()
	if !d.options.watch {
		return d.growAll(ctx)
	}
	page, err := d.openPage(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the page: %w", err)
	}
	defer func() { err = errors.Join(err, page.Close()) }()
	report, err := d.growAll(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.finish(report); err != nil {
		return nil, err
	}
	d.screen.stays(d.pageURL(page))
	return report, page.Stay(ctx)
}

// growAll waits for the kernels and grows one network after the other.
func (d *demo) growAll(ctx context.Context) (_ *report, err error) {
	select {
	case <-d.service.Forged():
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	d.screen.forged(d.service.ForgeResult())
	if d.prefetch, err = d.client.prefetchAll(ctx, d.service.ForgeResult().Compiled); err != nil {
		return nil, fmt.Errorf("prefetch kernels: %w", err)
	}
	outcomes := make([]*outcome, d.options.repeats)
	for i := range outcomes {
		if outcomes[i], err = d.repeat(ctx, i); err != nil {
			return nil, fmt.Errorf("network %d of %d: %w", i+1, d.options.repeats, err)
		}
	}
	return d.report(outcomes), nil
}
