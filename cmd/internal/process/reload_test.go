package process_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/signing"
)

// inFolder runs the test in a folder of its own, where only a .env file says what
// the secret and the log level are.
func inFolder(t *testing.T) (write func(env string)) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range []string{"ESPER_LEYLINE_SECRET", "ESPER_LEYLINE_SECRET_PREVIOUS", "ESP_LOG_LEVEL"} {
		t.Setenv(name, "") // so that it comes back
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	return func(env string) {
		t.Helper()
		if err := os.WriteFile(".env", []byte(env), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHangupTakesOverLevelAndSecretsOfTheFile(t *testing.T) {
	write := inFolder(t)
	level, current := new(slog.LevelVar), ""
	follow := func(source signing.Source) (err error) {
		current, _, err = source()
		return err
	}
	action := process.OnHangup(level, follow, slog.New(slog.DiscardHandler))
	for _, test := range []struct {
		name, env string
		level     slog.Level
		secret    string
	}{
		{"both", "ESPER_LEYLINE_SECRET=one\nESP_LOG_LEVEL=DEBUG\n", slog.LevelDebug, "one"},
		{"a new secret", "ESPER_LEYLINE_SECRET=two\nESP_LOG_LEVEL=WARNING\n", slog.LevelWarn, "two"},
		{"a level that is none", "ESPER_LEYLINE_SECRET=three\nESP_LOG_LEVEL=LOUD\n", slog.LevelWarn, "two"},
		{"no secret any more", "ESP_LOG_LEVEL=DEBUG\n", slog.LevelWarn, "two"},
	} {
		write(test.env)
		action.Do(t.Context())
		if level.Level() != test.level || current != test.secret {
			t.Errorf("%s: level %v, secret %q, want %v, %q", test.name, level, current, test.level, test.secret)
		}
	}
}

// A line of the log has each name once: with two of them, readers of JSON keep one.
func TestReloadIsLoggedWithEachNameOnce(t *testing.T) {
	inFolder(t)("ESPER_LEYLINE_SECRET=one\nESP_LOG_LEVEL=WARNING\n")
	var log bytes.Buffer
	process.OnHangup(new(slog.LevelVar), func(signing.Source) error { return nil }, slog.New(slog.NewJSONHandler(&log, nil))).Do(t.Context())
	if line := log.String(); strings.Count(line, `"level":`) != 1 || !strings.Contains(line, `"log_level":"WARN`) {
		t.Error(line)
	}
}

func TestHangupWithSecretsThatCannotBeReadStillSetsTheLevel(t *testing.T) {
	inFolder(t)("ESPER_LEYLINE_SECRET=one\nESP_LOG_LEVEL=ERROR\n")
	level := new(slog.LevelVar)
	unreadable := func(signing.Source) error { return errors.New("no such file") }
	process.OnHangup(level, unreadable, slog.New(slog.DiscardHandler)).Do(t.Context())
	if level.Level() != slog.LevelError {
		t.Errorf("level %v", level)
	}
}
