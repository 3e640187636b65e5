// Package dev runs all that a trial needs in one process, and says how to join it.
package dev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/ask"
	"github.com/esper-lite/weatherlight/cmd/internal/nissaconfig"
	"github.com/esper-lite/weatherlight/cmd/internal/observe"
	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/cmd/internal/service"
	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
)

// Service is the command that goes over to this one for its --dev, and is called by its own name then.
const Service = "esper-weatherlight-service"

// AsService says whether that command went over to this one.
func AsService() bool { return filepath.Base(os.Args[0]) == Service }

// dirFlag is the flag by which whoever called names the folder.
func dirFlag() string {
	if AsService() {
		return "--dev-dir"
	}
	return "--dir"
}

var errHangup = errors.New("the terminal is gone")

// New is the command.
func New() *cobra.Command {
	var dir string
	dev := &cobra.Command{
		Use:   "dev",
		Short: "Run a foundation and Nissa's page for a trial, until it is stopped",
		Long: `Runs all that a trial needs in one process, until Ctrl-C: the very service that
esper-weatherlight-service runs, on a broker of its own, with Nissa's page, and a secret and a
token that are made up. It prints what a trainer must export to join.

Everything it writes goes into a temporary folder that it removes at the end, or into one that
--dir names and that is kept: the next start goes on with its secrets, kernels and runs.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return run(command.Context(), dir, command.OutOrStdout())
		},
	}
	dev.Flags().StringVar(&dir, "dir", "", "folder that is kept")
	_ = dev.MarkFlagDirname("dir") // it is there
	return dev
}

// run runs a service that needs nothing beside it, until it is stopped: a broker of its own,
// Nissa's page in this process, everything in one folder.
func run(ctx context.Context, dir string, out io.Writer) (err error) {
	// A closed pipe is an error of a write, like any other: the folder is still to be removed.
	signal.Ignore(syscall.SIGPIPE)
	folder, remove, err := devFolder(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	resolved, err := devSettings(folder, os.Environ())
	if err != nil {
		return err
	}
	if err := nissaconfig.HTTP(resolved.Nissa).Check(ctx); err != nil {
		return err
	}
	made, err := service.Open(resolved)
	if err != nil {
		return err
	}
	defer made.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, release := made.OnSignal(ctx, process.Action{Signal: syscall.SIGHUP, Do: func(context.Context) { cancel(errHangup) }})
	defer release()
	kept := "is kept"
	if dir == "" {
		kept = "goes at the end; " + dirFlag() + " keeps one"
	}
	return withPage(ctx, made, func(page string) error {
		_, err := io.WriteString(out, devGreeting(resolved, made.BusURL(), made.HTTPAddr(), page, kept))
		return err
	}, resolved)
}

// withPage runs the service, and the page beside it once it is ready, until ctx is done or one
// of them ends.
func withPage(ctx context.Context, s *service.Service, greet func(page string) error, resolved *settings.Settings) error {
	// The service outlives the page, whose bus it is.
	serving, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	ended := make(chan error, 1)
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	go func() {
		err := s.Run(serving)
		leave(nil) // A service that ends takes the page with it.
		ended <- err
	}()
	failure := showPage(ctx, s, greet, resolved)
	stop(context.Cause(ctx))
	return errors.Join(failure, <-ended)
}

func showPage(ctx context.Context, s *service.Service, greet func(page string) error, resolved *settings.Settings) error {
	select {
	case <-s.Ready():
	case <-ctx.Done():
		return nil
	}
	current, previous, err := resolved.Secrets()
	if err != nil {
		return err
	}
	keyring, err := signing.NewKeyring(current, previous...)
	if err != nil {
		return err
	}
	page, err := observe.Open(ctx, observe.Config{
		Bus: s.BusURL(), Keyring: keyring, Group: "nissa-service", HTTP: nissaconfig.HTTP(resolved.Nissa),
		Store:  nissa.Store{URL: resolved.Nissa.DatabaseURL.Reveal()},
		Alerts: true, Logger: s.Logger.With("service", "nissa"),
	})
	if ctx.Err() != nil {
		return nil // asked to end meanwhile: nothing failed
	}
	if err != nil {
		return fmt.Errorf("open Nissa's page on %s: %w", resolved.Nissa.HTTP.Addr, err)
	}
	if err := greet(page.Addr()); err != nil {
		return errors.Join(fmt.Errorf("say how to join: %w", err), page.Close())
	}
	return errors.Join(page.Stay(ctx), page.Close())
}

// devGreeting is all that somebody needs to join, in lines that a shell takes. Kept says what becomes
// of the folder.
func devGreeting(resolved *settings.Settings, bus, status, page, kept string) string {
	var text strings.Builder
	secret, _, _ := resolved.Secrets() // it was read before
	text.WriteString("A trainer, and esperctl in another terminal, can join now:\n\n")
	fmt.Fprintf(&text, "export REDIS_URL=%s\nexport ESPER_LEYLINE_SECRET=%s\n", bus, secret)
	for _, addr := range []*string{&status, &page} {
		if reached, err := ask.Dialable(*addr); err == nil { // or else it is off
			*addr = reached
		}
	}
	scheme := resolved.Weatherlight.Listener().Scheme()
	if scheme == "https" {
		fmt.Fprintf(&text, "export WEATHERLIGHT_URL=https://%s\n", status)
	} else if status != "127.0.0.1:9180" {
		fmt.Fprintf(&text, "export WEATHERLIGHT_HTTP_ADDR=%s\n", status)
	}
	listener := resolved.Nissa.Listener()
	if page = listener.Scheme() + "://" + page; page != "http://127.0.0.1:9100" {
		fmt.Fprintf(&text, "export NISSA_URL=%s\n", page)
	}
	if tokens, err := listener.Tokens(); err == nil && listener.TokenFile == tokenPath(filepath.Dir(resolved.SecretFile)) {
		fmt.Fprintf(&text, "export NISSA_HTTP_TOKEN=%s\n", tokens[0])
	}
	for _, place := range [][2]string{
		{"URZA_DATABASE_URL", resolved.Urza.DatabaseURL.Reveal()}, {"URZA_ARTIFACT_DIR", resolved.Urza.ArtifactDir},
		{"TAMIYO_POLICY_DIR", resolved.Tamiyo.PolicyDir}, {"WEATHERLIGHT_DATA_DIR", resolved.Weatherlight.DataDir},
	} {
		fmt.Fprintf(&text, "export %s=%s\n", place[0], quoted(place[1]))
	}
	fmt.Fprintf(&text, "\npage    %s/\nstatus  %s://%s/status\n", page, scheme, status)
	fmt.Fprintf(&text, "folder  %s %s\n", filepath.Dir(resolved.SecretFile), kept)
	return text.String()
}

// quoted is a text as a shell takes it: paths have all kinds of letters in them.
func quoted(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/:._-+=@%", r)
	}
	if !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// devFolder is the folder of dev mode with a secret and a token in it: the one that is named, which is made
// when it is not there, or a temporary one that remove removes.
func devFolder(dir string) (folder string, remove func() error, err error) {
	if folder, err = filepath.Abs(dir); err != nil {
		return "", nil, err
	}
	remove = func() error { return nil }
	if dir == "" {
		if folder, err = os.MkdirTemp("", "esper-dev-"); err != nil {
			return "", nil, fmt.Errorf("make temporary folder: %w", err)
		}
		temporary := folder
		remove = func() error { return os.RemoveAll(temporary) }
	}
	if err := writeSecrets(folder); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return folder, remove, nil
}

// writeSecrets makes a secret of the bus and a token of Nissa up, unless the folder has them.
func writeSecrets(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("%s: %w", dirFlag(), process.CannotWrite(folder, err))
	}
	return errors.Join(writeSecret(secretPath(folder)), writeSecret(tokenPath(folder)))
}

func writeSecret(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dirFlag(), process.CannotWrite(path, err))
	}
	_, err = fmt.Fprintln(file, rand.Text())
	return errors.Join(err, file.Close())
}

func secretPath(folder string) string { return filepath.Join(folder, "secret") }

func tokenPath(folder string) string { return filepath.Join(folder, "nissa-token") }

// devSettings are those of the environment that say how a service behaves and where it listens.
// What names a place outside, such as a bus, a database, a secret or a segment of shared memory,
// is the folder's own: a trial touches nothing that others use. There is no .env file for the same reason.
func devSettings(folder string, environ []string) (*settings.Settings, error) {
	environ = slices.DeleteFunc(slices.Clone(environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "WEATHERLIGHT_HTTP_") || strings.HasPrefix(name, "NISSA_HTTP_") {
			return false // where it listens, and whom it lets in
		}
		return slices.ContainsFunc([]string{"_URL", "_DIR", "_FILE", "_NAME", "_SECRET", "_PREVIOUS", "_KEY", "_KEYS", "_PASSWORD"},
			func(suffix string) bool { return strings.HasSuffix(name, suffix) })
	})
	given := func(pair string) bool {
		name, value, _ := strings.Cut(pair, "=")
		return strings.HasPrefix(name, "NISSA_HTTP_TOKEN") && strings.TrimSpace(value) != ""
	}
	if !slices.ContainsFunc(environ, given) {
		environ = append(environ, "NISSA_HTTP_TOKEN_FILE="+tokenPath(folder))
	}
	return settings.Load(settings.Options{
		EnvFile: os.DevNull,
		Environ: append(environ,
			"REDIS_URL=embedded:",
			"ESPER_LEYLINE_SECRET_FILE="+secretPath(folder),
			"WEATHERLIGHT_INSTANCE=dev",
			"WEATHERLIGHT_DATA_DIR="+filepath.Join(folder, "weatherlight"),
			"URZA_DATABASE_URL=sqlite:///"+filepath.Join(folder, "urza", "catalog.db"),
			"URZA_ARTIFACT_DIR="+filepath.Join(folder, "urza", "artifacts"),
			"TAMIYO_POLICY_DIR="+filepath.Join(folder, "tamiyo", "policies"),
			"NISSA_DATA_DIR="+filepath.Join(folder, "nissa"),
			"NISSA_DATABASE_URL=sqlite:///"+filepath.Join(folder, "nissa", "runs.db"),
		),
	})
}
