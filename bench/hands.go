package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/signing"
)

const (
	rowStatus = "esperctl_status_ms"
	rowTop    = "esperctl_top_cpu_percent"
)

func handsRows() []row {
	return []row{{rowStatus, "ms", lower, nil}, {rowTop, "% of one core", lower, nil}}
}

// measureHands looks at 100 runs that report each second, with a service and a Nissa: once by
// esperctl status, and for a while by esperctl top.
func measureHands(ctx context.Context, b *bench) (err error) {
	folder := filepath.Join(b.folder, "hands")
	bus, err := startRedis(ctx, folder) // with nothing on it that other rows left
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.quit()) }()
	own := *b
	own.redis, b = bus, &own
	i := &ingestion{bench: b}
	if i.keyring, err = signing.NewKeyring(secret); err != nil {
		return err
	}
	if i.client, err = connect(b.redis.url); err != nil {
		return err
	}
	defer i.client.Close()
	if i.nissa, err = b.startNissa(ctx, filepath.Join(folder, "nissa")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.nissa.quit()) }()
	s, err := b.startService(ctx, folder, b.redis.url, true, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.quit()) }()
	environment := append(serviceEnvironment(folder, b.redis.url, s.httpAddr, true),
		"NISSA_URL=http://"+i.nissa.httpAddr, "TERM=xterm-256color")
	reporting, stop := context.WithCancel(ctx)
	reported := make(chan error, 1)
	go func() { reported <- i.report(reporting) }()
	err = s.awaitForge(ctx)
	for range b.runs {
		err = errors.Join(err, b.takeStatus(environment, folder), b.takeTop(ctx, environment, folder))
	}
	stop()
	return errors.Join(err, <-reported)
}

// report has each of 100 runs report once a second, until ctx is done.
func (i *ingestion) report(ctx context.Context) error {
	const runs = 100
	batch := rand.Uint32()
	tick := time.NewTicker(time.Second / runs)
	defer tick.Stop()
	for n := 0; ; n++ {
		e, err := seal(i.keyring, reportOfFour(batch, n), nil)
		if err != nil {
			return err
		}
		add := i.client.B().Xadd().Key("oona.normal").Id("*").FieldValue().
			FieldValue("payload", e.payload).FieldValue("signature", e.signature)
		if err := i.client.Do(ctx, add.Build()).Error(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("report: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// takeStatus takes the time of esperctl status, from its start to its end.
func (b *bench) takeStatus(environment []string, folder string) error {
	var took []float64
	for range b.pick(11, 1) {
		c, err := startChild(b.tools.control, []string{"status"}, environment, folder)
		if err != nil {
			return err
		}
		<-c.done
		took = append(took, milliseconds(time.Since(c.begun)))
		if code := c.command.ProcessState.ExitCode(); code > 1 { // 1 is that an alarm is raised
			return fmt.Errorf("esperctl status ended with %d:\n%s", code, c.output)
		}
	}
	slices.Sort(took)
	b.table.sample(rowStatus, ours, took[len(took)/2])
	return nil
}

// takeTop takes what esperctl top uses while it shows all of that on a terminal.
func (b *bench) takeTop(ctx context.Context, environment []string, folder string) error {
	master, tty, err := terminal(120, 40)
	if err != nil {
		return err
	}
	defer master.Close()
	command := exec.Command(b.tools.control, "top")
	command.Dir, command.Env = folder, environment
	command.Stdin, command.Stdout, command.Stderr = tty, tty, tty
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := errors.Join(command.Start(), tty.Close()); err != nil {
		return fmt.Errorf("start esperctl top: %w", err)
	}
	c := &child{command: command, done: make(chan struct{})}
	shown := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, master) // it ends with an error, when the terminal has gone
		shown <- n
	}()
	go func() {
		defer close(c.done)
		_ = command.Wait() // how it ended is looked at below
	}()
	while := time.Duration(b.pick(10_000, 1000)) * time.Millisecond
	err = rest(ctx, while/5)
	var ran float64
	if err == nil {
		ran, err = c.running(func() error { return rest(ctx, while) })
	}
	_, quitErr := io.WriteString(master, "q")
	<-c.done
	if n := <-shown; n < 1000 || command.ProcessState.ExitCode() != 0 {
		err = errors.Join(err, fmt.Errorf("esperctl top showed %d bytes and ended with %s", n, command.ProcessState))
	}
	b.table.sample(rowTop, ours, 100*ran/float64(while.Microseconds()))
	return errors.Join(err, quitErr)
}

// terminal opens one of so many columns and rows: the end of who looks, and that of who shows.
func terminal(columns, rows uint16) (master, tty *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open a terminal: %w", err), master.Close())
	}
	return master, tty, nil
}
