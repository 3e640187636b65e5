package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTimeout bounds the wait for a child that was asked to end.
const stopTimeout = 15 * time.Second

// binaries are the commands under measurement, built from this very tree.
type binaries struct {
	service, control, nissa string
}

// build makes the commands, once. It needs the module's own folder: this module
// does not know everything that they depend on.
func (b *bench) build(ctx context.Context) error {
	if b.tools != (binaries{}) {
		return nil
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", "build", "-o", b.folder+string(filepath.Separator),
		"./cmd/esper-weatherlight-service", "./cmd/esperctl", "./cmd/esper-nissa-service")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build the commands: %w\n%s", err, output)
	}
	b.tools = binaries{
		service: filepath.Join(b.folder, "esper-weatherlight-service"),
		control: filepath.Join(b.folder, "esperctl"),
		nissa:   filepath.Join(b.folder, "esper-nissa-service"),
	}
	return nil
}

// moduleRoot is the folder of the tree under measurement.
func moduleRoot(ctx context.Context) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/esper-lite/weatherlight").Output()
	if err != nil {
		return "", fmt.Errorf("find the module (run in its bench folder): %w", err)
	}
	return strings.TrimSpace(string(root)), nil
}

// child is a process that is measured from outside.
type child struct {
	command *exec.Cmd
	output  *bytes.Buffer
	done    chan struct{} // closed when it has ended
	begun   time.Time
}

func startChild(path string, args, environment []string, folder string) (*child, error) {
	c := &child{command: exec.Command(path, args...), output: new(bytes.Buffer), done: make(chan struct{})}
	c.command.Dir = folder // a .env file of the caller must not count
	c.command.Env = environment
	c.command.Stdout, c.command.Stderr = c.output, c.output
	c.begun = time.Now()
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	go func() {
		defer close(c.done)
		_ = c.command.Wait() // stop looks at the exit status.
	}()
	return c, nil
}

// startSelf runs one of this program's own children; see runChild.
func startSelf(args, environment []string, folder string) (*child, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	return startChild(path, args, environment, folder)
}

// stop asks the child to end and returns how long that took.
func (c *child) stop() (time.Duration, error) {
	begun := time.Now()
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("stop child: %w", err)
	}
	select {
	case <-c.done:
	case <-time.After(stopTimeout):
		_ = c.command.Process.Kill() // It was given its time.
		<-c.done
	}
	took := time.Since(begun)
	if code := c.command.ProcessState.ExitCode(); code != 0 {
		return took, fmt.Errorf("child ended with %s:\n%s", c.command.ProcessState, c.output)
	}
	return took, nil
}

// quit stops the child and forgets how long it took.
func (c *child) quit() error {
	_, err := c.stop()
	return err
}

// residentMB is the memory that the child occupies, in MiB.
func (c *child) residentMB() (float64, error) { return memoryOf(c.command.Process.Pid, "VmRSS:") }

// memoryOf reads one of the memory figures that the kernel keeps of a process,
// in MiB: VmRSS now, VmHWM at its peak.
func memoryOf(pid int, figure string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory of process: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, figure); found {
			kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kilobytes / 1024, err
		}
	}
	return 0, fmt.Errorf("no %s in status of process", figure)
}

// cpuTime is the time that all threads of the child have run. The scheduler's
// own account has nanoseconds, where the tick of /proc/PID/stat has ten
// milliseconds.
func (c *child) cpuTime() (time.Duration, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.command.Process.Pid))
	if err != nil || len(paths) == 0 {
		return 0, errors.Join(err, errors.New("no threads of child"))
	}
	var total time.Duration
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has just ended
		}
		if err != nil {
			return 0, fmt.Errorf("read run time of child: %w", err)
		}
		var ran int64
		if _, err := fmt.Sscan(string(text), &ran); err != nil {
			return 0, fmt.Errorf("read run time of child: %w", err)
		}
		total += time.Duration(ran)
	}
	return total, nil
}

// running is the time, in microseconds, that the child's threads run while work
// is done.
func (c *child) running(work func() error) (float64, error) {
	before, err := c.cpuTime()
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := c.cpuTime()
	return float64(after-before) / float64(time.Microsecond), err
}
