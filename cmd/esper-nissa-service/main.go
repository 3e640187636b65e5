// Command esper-nissa-service runs the observability service of Esper-Lite: it
// reads telemetry from the bus, shows every metric point to Prometheus, and keeps what
// it hears of training runs.
//
// It is configured by environment variables or a .env file; see
// docs/operations. Exit codes: 0 clean stop, 1 failed later, 2 configuration,
// 3 a dependency at boot.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/nissaconfig"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/supervise"
)

const (
	name  = "esper-nissa-service"
	group = "nissa-service"
)

func main() {
	process.OutliveSignals()
	process.DieBySignal()
	err := start(context.Background(), os.Args[1:])
	if err != nil {
		process.Report(os.Stderr, name, err)
	}
	os.Exit(process.ExitCode(err))
}

func start(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	version := flags.Bool("version", false, "only print the version")
	imported := flags.String("import", "", "only put the runs of this file, as /api/runs/<run>/export gives them, into the store")
	parts := flags.Bool("parts", false, "with --import: also those that were cut off, as far as they go")
	switch err := process.ParseFlags(flags, "[--version] [--import file [--parts]]", args, os.Stdout); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case *version:
		fmt.Println(process.Version(name))
		return nil
	case *parts && *imported == "":
		return process.Misconfigured("command line", errors.New("--parts belongs to --import"))
	case *imported != "":
		return importRuns(ctx, *imported, *parts)
	}
	return run(ctx)
}

func importRuns(ctx context.Context, path string, parts bool) error {
	resolved, err := settings.Load(settings.Options{SecretOptional: true})
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return process.CannotRead(path, err)
	}
	defer file.Close()
	ids, err := nissa.Import(ctx, store(resolved.Nissa), file, parts)
	for _, id := range ids {
		fmt.Println(id)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func run(ctx context.Context) error {
	process.CollectBelow()
	resolved, err := settings.Load(settings.Options{})
	if err != nil {
		return err
	}
	if resolved.Redis.Embedded() {
		return process.Misconfigured("REDIS_URL", errors.New("embedded: lives in the foundation service; name its address here"))
	}
	if err := nissaconfig.HTTP(resolved.Nissa).Check(ctx); err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(resolved.Log.Level.Level())
	logger, sink := process.OpenLog(os.Stderr, level)
	defer sink.Close()
	secrets, err := signing.Follow(resolved.Secrets, logger)
	if err != nil {
		return err
	}
	// The second signal leaves at once, whatever is still going on.
	var running atomic.Pointer[nissa.Service]
	ctx, release := process.OnSignal(ctx, func() { os.Exit(process.ExitFailed) },
		process.OnHangup(level, secrets.Use, logger), rulesOnHangup(&running, logger))
	defer release()
	logger.Info("settings", "settings", resolved)
	process.WarnMisspelt(logger, resolved)
	streams := busStreams(resolved)
	own := "nissa-" + resolved.Weatherlight.Instance
	bus, err := oona.Connect(ctx, oona.Config{
		URL:      resolved.Redis.URL.Reveal(),
		Group:    group,
		Consumer: own,
		Streams:  streams,
		Keyring:  secrets.Keyring(),
		Trust:    trust(resolved.Oona.Trust),
		Logger:   logger.With("part", "oona"),
	})
	if err != nil && ctx.Err() != nil {
		logger.Info("stopping", "reason", context.Cause(ctx))
		return nil // asked to end while it waited for the bus: nothing failed
	}
	if err != nil {
		return err
	}
	service, err := nissa.New(nissa.Config{
		Bus: bus, Name: own, HTTP: nissaconfig.HTTP(resolved.Nissa), Group: group, Streams: streams, Logger: logger,
		Store: store(resolved.Nissa), Alerts: alerts(resolved.Nissa), Documents: documents(resolved.Nissa),
		Points: nissaconfig.Points(),
		Beside: followers(resolved, secrets), Features: resolved.Nissa.CoverageFeatureNames,
	})
	if errors.Is(err, nissa.ErrRules) {
		err = process.Misconfigured("NISSA_RULES_FILE", err)
	}
	if err != nil {
		return errors.Join(err, bus.Close())
	}
	running.Store(service)
	return errors.Join(service.Run(ctx), bus.Close())
}

func store(n settings.Nissa) nissa.Store {
	return nissa.Store{
		URL:       n.DatabaseURL.Reveal(),
		Retention: time.Duration(n.RetentionDays) * 24 * time.Hour,
		MaxBytes:  int64(n.StoreMaxMB) << 20,
	}
}

func documents(n settings.Nissa) nissa.Documents {
	return nissa.Documents{
		URL: n.ElasticsearchURL.Reveal(), Dir: filepath.Join(n.DataDir, "documents"), MaxBytes: int64(n.SpoolMaxMB) << 20,
	}
}

// alerts are looked for by the rules of a file, or by the shipped ones.
func alerts(of settings.Nissa) *nissa.Alerts {
	if !of.AlertsEnabled {
		return nil
	}
	read := func() ([]byte, string, error) {
		text, err := os.ReadFile(of.RulesFile)
		return text, filepath.Dir(of.RulesFile), err
	}
	if of.RulesFile == "" {
		read = func() ([]byte, string, error) {
			return nissa.ShippedRules(nissa.Thresholds{
				Coverage: of.CoverageThreshold, CoverageCount: of.CoverageConsecutive, ElevatedRisk: of.ElevatedRisk,
			}), "", nil
		}
	}
	return &nissa.Alerts{Rules: read}
}

// rulesOnHangup reads the rules again on SIGHUP, once there is a service.
func rulesOnHangup(running *atomic.Pointer[nissa.Service], logger *slog.Logger) process.Action {
	return process.Action{Signal: syscall.SIGHUP, Do: func(ctx context.Context) {
		service := running.Load()
		if service == nil {
			return
		}
		if err := service.Reload(ctx); err != nil {
			logger.Error("reload", "error", err)
			return
		}
		logger.Info("reloaded the rules")
	}}
}

// followers are the workers that keep the secrets at what their file says.
func followers(resolved *settings.Settings, secrets *signing.Follower) []supervise.Spec {
	if resolved.SecretFile == "" {
		return nil
	}
	return []supervise.Spec{{Name: "secret_file", Worker: secrets}}
}

func trust(text string) oona.Trust {
	if text == settings.TrustStrict {
		return oona.TrustStrict
	}
	return oona.TrustCompatible
}

func busStreams(resolved *settings.Settings) oona.Streams {
	streams := oona.DefaultStreams()
	streams.Normal = resolved.Oona.NormalStream
	streams.Emergency = resolved.Oona.EmergencyStream
	streams.Telemetry = resolved.Oona.TelemetryStream
	streams.Policy = resolved.Oona.PolicyStream
	return streams
}
