package redistest

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	_ "embed"
)

//go:embed testdata/clock.c
var clockSource []byte

// Clock moves the wall clock of a server that was started with it. Debian's
// libfaketime does not come to terms with the allocator of its redis-server.
type Clock struct {
	t               testing.TB
	library, offset string
}

// NewClock is right until it is moved. It needs gcc.
func NewClock(t testing.TB) *Clock {
	t.Helper()
	dir := t.TempDir()
	c := &Clock{t: t, library: filepath.Join(dir, "clock.so"), offset: filepath.Join(dir, "offset")}
	source := filepath.Join(dir, "clock.c")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("gcc", "-shared", "-fPIC", "-O2", "-o", c.library, source).CombinedOutput(); err != nil {
		t.Fatalf("apt-get install gcc libc6-dev: %v\n%s", err, output)
	}
	c.Set(0)
	return c
}

// Set moves the clock so far ahead of that of the machine, in whole seconds.
func (c *Clock) Set(ahead time.Duration) {
	c.t.Helper()
	// In place: the server has mapped the file.
	file, err := os.OpenFile(c.offset, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	seconds := binary.NativeEndian.AppendUint64(nil, uint64(int64(ahead/time.Second)))
	if _, err := file.WriteAt(seconds, 0); err != nil {
		c.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *Clock) environ() []string {
	if c == nil {
		return nil
	}
	return []string{"LD_PRELOAD=" + c.library, "CLOCK_OFFSET_FILE=" + c.offset}
}
