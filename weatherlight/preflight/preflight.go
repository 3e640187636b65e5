// Package preflight asks what a boot will need, and changes nothing.
//
// [Run] returns one [Check] for each question, with its [Result]. What it asks the bus,
// [Bus], the boot asks as well, and of what lies on the disk it reads what the boot reads.
// The service's command calls Run before a start or instead of one.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/internal/sdnotify"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
	"github.com/esper-lite/weatherlight/weatherlight/internal/httpapi"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// Result is what a check came to.
type Result string

// Results of a check. A warning does not keep the service from starting, and a question that
// another answer left no sense to says nothing.
const (
	Passed  Result = "ok"
	Skipped Result = "not asked"
	Warned  Result = "warning"
	Failed  Result = "FAILED"
)

// Check is one question of the preflight and its answer.
type Check struct {
	Name   string
	Result Result
	Detail string
	// Configuration says that a failure is one of the settings, not of something
	// that the service needs.
	Configuration bool
}

// preflight holds what the checks work on.
type preflight struct {
	settings *settings.Settings
	keyring  *signing.Keyring
}

// question is one of the preflight's.
type question struct {
	name string
	ask  func(context.Context) Check
}

// Run asks what a boot will need, changes nothing, and does not stop at the
// first failure. Servers have the time of a boot to answer. The order of the checks is always the same.
// docs/operations/deployment.md says what is asked, and what only the boot finds out.
func Run(ctx context.Context, resolved *settings.Settings) []Check {
	p := &preflight{settings: resolved}
	checks := ask(ctx, question{"settings", p.configuration}, question{"secret", p.secret})
	servers, cancel := context.WithTimeout(ctx, resolved.Weatherlight.BootTimeout)
	defer cancel()
	checks = append(checks, p.bus(servers)...)
	checks = append(checks, ask(servers, question{"catalogue", p.catalogue}, question{"kernel files", p.kernelFiles})...)
	return append(checks, ask(ctx,
		question{"policies", p.policies},
		question{"field reports", p.fieldReports},
		question{"data folder", p.dataFolder},
		question{checkFiles, func(context.Context) Check { return OpenFiles() }},
		question{"http port", p.httpPort},
		question{"shared memory", p.sharedMemory},
		question{"service manager", p.serviceManager},
	)...)
}

func ask(ctx context.Context, questions ...question) []Check {
	answers := make([]Check, len(questions))
	for i, q := range questions {
		answers[i] = q.ask(ctx).of(q.name)
	}
	return answers
}

// of names a check.
func (c Check) of(name string) Check {
	c.Name = name
	return c
}

// judged is a check that failed when there is an error.
func judged(err error, detail string) Check {
	if err != nil {
		return failed(err)
	}
	return passed("%s", detail)
}

func passed(format string, values ...any) Check {
	return Check{Result: Passed, Detail: fmt.Sprintf(format, values...)}
}

func warned(format string, values ...any) Check {
	return Check{Result: Warned, Detail: fmt.Sprintf(format, values...)}
}

func skipped(why string) Check { return Check{Result: Skipped, Detail: why} }

func failed(err error) Check { return Check{Result: Failed, Detail: err.Error()} }

func misconfigured(err error) Check {
	return Check{Result: Failed, Detail: err.Error(), Configuration: true}
}

func (p *preflight) configuration(context.Context) Check {
	if err := assembly.Check(p.settings); err != nil {
		return misconfigured(err)
	}
	if err := urza.TrySigningKey(assembly.Library(p.settings)); err != nil {
		return misconfigured(fmt.Errorf("URZA_SIGNING_KEY_FILE: %w", err))
	}
	return passed("the parts know what they speak of")
}

// minSecret is the length in bytes below which a secret can be guessed.
const minSecret = 16

func (p *preflight) secret(context.Context) Check {
	secret, previous, err := p.settings.Secrets()
	if err != nil {
		return misconfigured(err)
	}
	keyring, err := signing.NewKeyring(secret, previous...)
	if err != nil {
		return misconfigured(fmt.Errorf("%s: %w", settings.SecretEnv, err))
	}
	p.keyring = keyring
	if len(secret) < minSecret {
		return warned("key %s, only %d bytes long", keyring.KeyID(), len(secret))
	}
	if strings.TrimSpace(secret) != secret {
		return warned("key %s, a blank at an end of the secret is part of it", keyring.KeyID())
	}
	return passed("key %s, %d more accepted", keyring.KeyID(), len(previous))
}

func (p *preflight) bus(ctx context.Context) []Check {
	if p.settings.Redis.Embedded() {
		return append([]Check{passed("embedded: volatile, for one machine").of(checkBus)}, embedded()...)
	}
	keyring := p.keyring
	if keyring == nil {
		// Nothing is signed with it: the bus can be looked at without the secret.
		keyring, _ = signing.NewKeyring("preflight")
	}
	bus, err := oona.Connect(ctx, assembly.Bus(p.settings, keyring))
	if err != nil {
		return append([]Check{failed(err).of(checkBus)}, unasked("the bus was not reached")...)
	}
	defer bus.Close()
	_, checks := Bus(ctx, bus, p.settings)
	return checks
}

func (p *preflight) catalogue(ctx context.Context) Check {
	schema, err := urza.InspectSchema(ctx, p.settings.Urza.DatabaseURL.Reveal())
	if errors.Is(err, urza.ErrUnsupportedDatabase) {
		return misconfigured(err)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return failed(fmt.Errorf("%s did not answer in the time of a boot, WEATHERLIGHT_BOOT_TIMEOUT: %w", schema.Where, err))
	case err != nil:
		return failed(err)
	case !schema.Exists:
		if filepath.IsAbs(schema.Where) { // a file, and not a server
			if err := tryFolder("folder of the catalogue", filepath.Dir(schema.Where)); err != nil {
				return failed(err)
			}
		}
		return passed("%s is not there yet: the boot makes it", schema.Where)
	case schema.Version > schema.Wanted:
		return failed(fmt.Errorf("%s is of version %d, made by a newer program: this one knows %d",
			schema.Where, schema.Version, schema.Wanted))
	case !schema.Current():
		return passed("%s is of version %d: the boot brings it up to %d", schema.Where, schema.Version, schema.Wanted)
	default:
		return passed("%s, version %d", schema.Where, schema.Version)
	}
}

// storeTimeout bounds the look at the store of the kernels.
const storeTimeout = 10 * time.Second

func (p *preflight) kernelFiles(ctx context.Context) Check {
	config := assembly.Library(p.settings)
	if config.ArtifactURL == "" {
		return folderCheck("URZA_ARTIFACT_DIR", config.ArtifactDir)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := urza.InspectStore(ctx, config); err != nil {
		return failed(fmt.Errorf("URZA_ARTIFACT_URL: %w", err))
	}
	return passed("%s", p.settings.Urza.ArtifactURL)
}

func (p *preflight) httpPort(ctx context.Context) Check {
	config := httpapi.Listener(p.settings.Weatherlight.Listener())
	if config.Addr == "" {
		return passed("off")
	}
	server, err := httpserver.Listen(ctx, config, slog.New(slog.DiscardHandler))
	if fault, is := errors.AsType[*httpserver.ConfigError](err); is {
		return misconfigured(fault)
	}
	if err != nil {
		return failed(fmt.Errorf("WEATHERLIGHT_HTTP_ADDR %s: %w", config.Addr, err))
	}
	_ = server.Close() // It was only asked whether it opens.
	if warning := server.Warning(); warning != "" {
		return warned("%s", warning)
	}
	return passed("%s://%s", server.Scheme(), config.Addr)
}

// sharedMemory only warns: the service starts without its signals, and waits for
// them.
func (p *preflight) sharedMemory(context.Context) Check {
	watched, err := trySignals(p.settings.Tolaria)
	if err != nil {
		return warned("%v", err)
	}
	if len(watched) == 0 {
		return passed("no signal is watched")
	}
	return passed("watched: %s", strings.Join(watched, ", "))
}

// serviceManager sends nothing: systemd takes an empty notification for none.
func (p *preflight) serviceManager(context.Context) Check {
	heard, err := sdnotify.Notify("")
	if err != nil {
		return failed(err)
	}
	if !heard {
		return passed("none is to be told")
	}
	return passed("it listens")
}

// trySignals asks whether the segments that have names could be watched.
func trySignals(names settings.Tolaria) (watched []string, err error) {
	for _, signal := range []struct {
		env string
		shmsignal.Signal
	}{
		{"TOLARIA_ROLLBACK_SIGNAL_NAME", shmsignal.Signal{Kind: shmsignal.Rollback, Name: names.RollbackSignal}},
		{"TOLARIA_EMERGENCY_SIGNAL_NAME", shmsignal.Signal{Kind: shmsignal.Emergency, Name: names.EmergencySignal}},
	} {
		if signal.Name == "" {
			continue
		}
		if err := signal.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", signal.env, err)
		}
		watched = append(watched, signal.Path())
	}
	return watched, nil
}

func (p *preflight) policies(context.Context) Check {
	dir := p.settings.Tamiyo.PolicyDir
	return judged(errors.Join(
		tryFolder("TAMIYO_POLICY_DIR", dir), tryFolder("folder of the payloads", payloads.Folder(dir)), policy.Check(dir),
	), dir)
}

func (p *preflight) fieldReports(context.Context) Check {
	if err := tryDataDir(p.settings.Tamiyo.ReportFolder()); err != nil {
		return failed(fmt.Errorf("the folder above TAMIYO_POLICY_DIR: %w", err))
	}
	file := p.settings.Tamiyo.ReportFile()
	return judged(fieldreport.Check(file), file)
}

func folderCheck(env, dir string) Check {
	if err := tryFolder(env, dir); err != nil {
		return failed(err)
	}
	return passed("%s", dir)
}

func (p *preflight) dataFolder(ctx context.Context) Check {
	dir := p.settings.Weatherlight.DataDir
	if err := tryDataDir(dir); err != nil {
		return failed(err)
	}
	switch err := tryDataFiles(ctx, p.settings); {
	case errors.Is(err, outbox.ErrUnchecked):
		return warned("%v", err)
	default:
		return judged(err, dir)
	}
}

// tryDataFiles asks whether what an earlier start left in the data folder can be
// read.
func tryDataFiles(ctx context.Context, set *settings.Settings) error {
	_, err := datadir.ReadName(set.Weatherlight.DataDir)
	return errors.Join(err, outbox.Check(ctx, set.Weatherlight.OutboxFile()))
}
