package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/supervise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExitCodeTellsWhoHasToAct(t *testing.T) {
	_, noSecret := settings.Load(settings.Options{Environ: []string{}, EnvFile: os.DevNull})
	tests := map[string]struct {
		err  error
		want int
	}{
		"clean":                 {nil, 0},
		"missing secret":        {noSecret, 2},
		"blank secret":          {fmt.Errorf("keyring: %w", signing.ErrNoSecret), 2},
		"fault seen by command": {process.Misconfigured("REDIS_URL", errors.New("embedded")), 2},
		"setting seen at boot":  {&supervise.BootError{Step: "urza catalogue", Err: noSecret}, 2},
		"boot step":             {&supervise.BootError{Step: "oona connection", Err: errors.New("refused")}, 3},
		"bus of nissa":          {fmt.Errorf("join: %w", &oona.ConnectError{Addr: "x", Err: errors.New("refused")}), 3},
		"port in use":           {fmt.Errorf("listen: %w", &net.OpError{Op: "listen", Err: syscall.EADDRINUSE}), 3},
		"later network trouble": {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, 1},
		"anything else":         {errors.New("broken"), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := process.ExitCode(test.err); got != test.want {
				t.Errorf("ExitCode(%v) = %d, want %d", test.err, got, test.want)
			}
		})
	}
}

func TestReportIsOneLineWithEveryCause(t *testing.T) {
	for text, want := range map[string]string{
		"refused": "esperctl: refused\n",
		"settings: 2 faults\n  A is wrong\n  B is wrong":    "esperctl: settings: 2 faults; A is wrong; B is wrong\n",
		"failed to connect:\n\tdial: refused\n\n\tno TLS\n": "esperctl: failed to connect: dial: refused; no TLS\n",
	} {
		var out bytes.Buffer
		process.Report(&out, "esperctl", errors.New(text))
		if out.String() != want {
			t.Errorf("%q is reported as %q, want %q", text, out.String(), want)
		}
	}
}

func TestLogOutsideATerminalIsJSON(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatalf("CreateTemp: %v", err)
	}
	defer file.Close()
	process.NewLogger(file, slog.LevelInfo).Info("hello", "n", 1)
	content, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatalf("ReadFile: %v", err)
	}
	if !bytes.HasPrefix(content, []byte("{")) || !bytes.Contains(content, []byte(`"msg":"hello"`)) {
		t.Errorf("log line: %s", content)
	}
	if process.IsTerminal(file) {
		t.Error("a file was taken for a terminal")
	}
}

func signalSelf(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatalf("signal: %v", err)
	}
}

func TestFirstSignalStopsAndALaterOneInterrupts(t *testing.T) {
	interrupted := make(chan struct{}, 2) // one for each signal after the first: nobody reads the last
	ctx, release := process.OnSignal(context.Background(), func() { interrupted <- struct{}{} })
	defer release()
	begun := time.Now()
	signalSelf(t)
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), process.ErrSignal) {
		t.Errorf("cause = %v", context.Cause(ctx))
	}
	// timeout(1) sends the same signal twice within a moment: that is one
	// request, and must not cut the drain short.
	signalSelf(t)
	select {
	case <-interrupted:
		if took := time.Since(begun); took < 300*time.Millisecond {
			t.Errorf("interrupted after %v by a repeated signal", took)
		}
		return // On a machine so slow, the repeated one was a later one.
	case <-time.After(400 * time.Millisecond):
	}
	signalSelf(t)
	wait(t, "the interruption", interrupted)
}
