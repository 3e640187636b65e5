package storewatch

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen.
const patience = 15 * time.Second

// writerSource is a process that maps a file and does as it is told, a line at a
// time. One of its threads is there from the beginning.
const writerSource = `
import mmap, os, queue, sys, threading, time
path, manner = sys.argv[1:3]
access = {"write": mmap.ACCESS_WRITE, "read": mmap.ACCESS_READ, "copy": mmap.ACCESS_COPY}[manner]
file = os.open(path, os.O_RDWR)
shm = mmap.mmap(file, 0, access=access)

def store(at=0):
    shm[at] = (shm[at] + 1) % 256

jobs, done = queue.Queue(), queue.Queue()
def work():
    while True:
        jobs.get()()
        done.put(None)
threading.Thread(target=work, daemon=True).start()

print("mapped", flush=True)
for line in sys.stdin:
    match line.split():
        case ["store", *at]:
            store(int(at[0]) if at else 0)
        case ["fill"]:
            shm[:64] = bytes(range(64))
        case ["old-thread"]:
            jobs.put(store)
            done.get()
        case ["new-thread"]:
            thread = threading.Thread(target=store)
            thread.start()
            thread.join()
        case ["fork"]:
            child = os.fork()
            if not child:
                store()
                os._exit(0)
            os.waitpid(child, 0)
        case ["threads", n]:
            for _ in range(int(n)):
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        case ["many", n]:
            for _ in range(int(n)):
                store()
        case ["again"]:
            second = mmap.mmap(file, 0)
        case ["store-again"]:
            second[0] = 99
        case ["unmap"]:
            shm.close()
        case ["exec"]:
            os.execvp("sleep", ["sleep", "60"])
    print("done", flush=True)
`

// writer is a process that has the file mapped.
type writer struct {
	t       *testing.T
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
}

func newWriter(t *testing.T, path, manner string) *writer {
	t.Helper()
	command := exec.CommandContext(t.Context(), "python3", "-c", writerSource, path, manner)
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	w := &writer{t, command, input, bufio.NewReader(output)}
	t.Cleanup(w.kill)
	w.answers("mapped")
	return w
}

// does has the writer do something, and returns when it is done.
func (w *writer) does(what string) {
	w.t.Helper()
	w.begins(what)
	w.answers("done")
}

func (w *writer) begins(what string) {
	w.t.Helper()
	if _, err := io.WriteString(w.input, what+"\n"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) answers(want string) {
	w.t.Helper()
	if line, err := w.output.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		w.t.Fatalf("the writer says %q, %v", line, err)
	}
}

// kill ends the writer for good.
func (w *writer) kill() {
	_ = w.command.Process.Kill()
	_ = w.command.Wait() // says that it was killed
}

// shared makes a file that processes can map, and tells its name.
func shared(t *testing.T) (string, File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segment")
	if dir, err := os.MkdirTemp("/dev/shm", "storewatch"); err == nil {
		path = filepath.Join(dir, "segment")
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	if err := os.WriteFile(path, make([]byte, 64), 0o600); err != nil {
		t.Fatal(err)
	}
	var found unix.Stat_t
	if err := unix.Stat(path, &found); err != nil {
		t.Fatal(err)
	}
	return path, File{Device: found.Dev, Inode: found.Ino}
}

// find watches a file, where the system lets us.
func find(t *testing.T, file File) *Watch {
	t.Helper()
	w, err := Find(t.Context(), file)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this system grants no hardware breakpoints:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// told waits until there is something to tell.
func told(t *testing.T, w *Watch) (stored, ended bool) {
	t.Helper()
	waiting := []unix.PollFd{{Fd: int32(w.FD()), Events: unix.POLLIN}}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := unix.Poll(waiting, int(patience.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		stored, ended, err := w.Told()
		if err != nil {
			t.Fatal(err)
		}
		if stored || ended {
			return stored, ended
		}
	}
	t.Fatal("nothing was told")
	return false, false
}

// quiet wants nothing to be told of what has been done already.
func quiet(t *testing.T, w *Watch) {
	t.Helper()
	if stored, ended, err := w.Told(); stored || ended || err != nil {
		t.Errorf("told of a store: %v, of an end: %v, error %v", stored, ended, err)
	}
}

func TestEveryStoreOfAnotherProcessIsTold(t *testing.T) {
	for _, act := range []string{"store", "store 7", "fill", "old-thread", "new-thread", "fork"} {
		t.Run(act, func(t *testing.T) {
			path, file := shared(t)
			writer := newWriter(t, path, "write")
			w := find(t, file)
			quiet(t, w)
			for range 3 {
				writer.does(act)
				if stored, ended := told(t, w); !stored || ended {
					t.Fatalf("told of a store: %v, of an end: %v", stored, ended)
				}
			}
			quiet(t, w)
		})
	}
}

func TestStoreBehindTheWatchedBytesIsNotTold(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	w := find(t, file)
	writer.does("store 8")
	writer.does("store 63")
	quiet(t, w)
}

func TestStoreThroughASecondMappingIsTold(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	writer.does("again")
	w := find(t, file)
	writer.does("store-again")
	if stored, _ := told(t, w); !stored {
		t.Error("not told")
	}
}

// What is told of goes through a ring of 512 places.
func TestWriterThatStoresFasterThanWeLookIsStillHeard(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	w := find(t, file)
	for range 3 {
		writer.does("many 2000")
		if stored, _ := told(t, w); !stored {
			t.Error("not told")
		}
	}
}

func TestTwoWritersAreBothTold(t *testing.T) {
	path, file := shared(t)
	first, second := newWriter(t, path, "write"), newWriter(t, path, "write")
	w := find(t, file)
	for _, writer := range []*writer{first, second, first} {
		writer.does("store")
		if stored, _ := told(t, w); !stored {
			t.Error("not told")
		}
	}
	first.kill()
	second.does("store")
	for stored := false; !stored; {
		var ended bool
		if stored, ended = told(t, w); ended {
			t.Fatal("both are told to have ended")
		}
	}
	second.kill()
	if _, ended := told(t, w); !ended {
		t.Error("nobody is told to have ended")
	}
}

func TestEndOfAWriterIsTold(t *testing.T) {
	for how, end := range map[string]func(*writer){
		"killed":                 func(w *writer) { w.kill() },
		"became another program": func(w *writer) { w.begins("exec") },
	} {
		t.Run(how, func(t *testing.T) {
			path, file := shared(t)
			writer := newWriter(t, path, "write")
			w := find(t, file)
			end(writer)
			for ended := false; !ended; {
				_, ended = told(t, w)
			}
		})
	}
}

func TestWhoCannotStoreIsNotFound(t *testing.T) {
	for _, manner := range []string{"read", "copy"} {
		t.Run(manner, func(t *testing.T) {
			path, file := shared(t)
			newWriter(t, path, manner)
			if _, err := Find(t.Context(), file); !errors.Is(err, ErrNobody) {
				t.Errorf("error = %v", err)
			}
		})
	}
	t.Run("unmapped", func(t *testing.T) {
		path, file := shared(t)
		newWriter(t, path, "write").does("unmap")
		if _, err := Find(t.Context(), file); !errors.Is(err, ErrNobody) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("ourselves", func(t *testing.T) {
		path, file := shared(t)
		own, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		data, err := unix.Mmap(int(own.Fd()), 0, 64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Munmap(data); err != nil {
				t.Error(err)
			}
		}()
		if _, err := Find(t.Context(), file); !errors.Is(err, ErrNobody) {
			t.Errorf("error = %v", err)
		}
	})
}

func TestWriterWithTooManyThreadsIsRefused(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	quiet(t, find(t, file))
	writer.does("threads 520")
	before := openFiles(t)
	if _, err := Find(t.Context(), file); !errors.Is(err, errTooMany) {
		t.Errorf("error = %v", err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

func TestNothingStaysOpen(t *testing.T) {
	path, file := shared(t)
	newWriter(t, path, "write")
	before := openFiles(t)
	for range 3 {
		t.Run("watched", func(t *testing.T) { quiet(t, find(t, file)) })
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(cancelled, file); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files open, %d before", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
