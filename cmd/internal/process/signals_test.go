package process_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

func send(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), signal); err != nil {
		t.Fatalf("signal: %v", err)
	}
}

func wait(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("waited in vain: %s", what)
	}
}

func TestActionsRunBesideTheStop(t *testing.T) {
	began, ended, dumped := make(chan struct{}, 4), make(chan struct{}), make(chan struct{}, 4)
	ctx, release := process.OnSignal(context.Background(), func() { t.Error("interrupted") },
		process.Action{Signal: syscall.SIGHUP, Do: func(ctx context.Context) {
			began <- struct{}{}
			<-ctx.Done() // a reload that hangs
			close(ended)
		}},
		process.Action{Signal: syscall.SIGUSR1, Do: func(context.Context) { dumped <- struct{}{} }},
	)
	send(t, syscall.SIGHUP)
	wait(t, "the reload begins", began)
	send(t, syscall.SIGUSR1)
	wait(t, "the dump, though the reload hangs", dumped)
	if ctx.Err() != nil {
		t.Fatalf("an action stopped the process: %v", context.Cause(ctx))
	}
	send(t, syscall.SIGTERM)
	wait(t, "the stop, though the reload hangs", ctx.Done())
	if !errors.Is(context.Cause(ctx), process.ErrSignal) {
		t.Errorf("cause = %v", context.Cause(ctx))
	}
	release()
	wait(t, "the reload ends with the process", ended)
	if len(began) != 0 {
		t.Error("two reloads for one signal")
	}
}

func TestSignalsBeforeAServiceHearsThemDoNotEndIt(t *testing.T) {
	process.OutliveSignals()
	send(t, syscall.SIGHUP) // either would end this process
	send(t, syscall.SIGUSR1)
	heard := make(chan struct{}, 4)
	_, release := process.OnSignal(context.Background(), func() { t.Error("interrupted") },
		process.Action{Signal: syscall.SIGHUP, Do: func(context.Context) { heard <- struct{}{} }})
	defer release()
	send(t, syscall.SIGHUP)
	wait(t, "the reload", heard)
}

func TestStuckReloadDoesNotKeepTheProcessFromEnding(t *testing.T) {
	began, unstuck := make(chan struct{}), make(chan struct{})
	defer close(unstuck)
	ctx, release := process.OnSignal(context.Background(), func() { t.Error("interrupted") },
		process.Action{Signal: syscall.SIGHUP, Do: func(context.Context) {
			close(began)
			<-unstuck // as in a system call, which no context ends
		}})
	send(t, syscall.SIGHUP)
	wait(t, "the reload begins", began)
	send(t, syscall.SIGTERM)
	wait(t, "the stop", ctx.Done())
	released := make(chan struct{})
	go func() {
		release()
		close(released)
	}()
	wait(t, "the end, though the reload is stuck", released)
}

func TestStormOfSignalsIsOneMore(t *testing.T) {
	began, go1 := make(chan struct{}, 100), make(chan struct{})
	_, release := process.OnSignal(context.Background(), func() { t.Error("interrupted") },
		process.Action{Signal: syscall.SIGUSR1, Do: func(ctx context.Context) {
			began <- struct{}{}
			select {
			case <-go1:
			case <-ctx.Done():
			}
		}})
	defer release()
	send(t, syscall.SIGUSR1)
	wait(t, "the first", began)
	for range 50 {
		send(t, syscall.SIGUSR1)
	}
	close(go1)
	wait(t, "one more", began)
}

type coded int

func (c coded) Error() string { return "coded" }
func (c coded) Exit() int     { return int(c) }

func TestErrorMaySayItsOwnExitCode(t *testing.T) {
	if got := process.ExitCode(coded(3)); got != 3 {
		t.Errorf("exit code %d", got)
	}
}
