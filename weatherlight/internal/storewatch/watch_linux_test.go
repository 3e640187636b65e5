package storewatch

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
import ctypes, mmap, os, queue, sys, threading, time
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
            os.execvp("sh", ["sh", "-c", "echo another program; exec sleep 60"])
        case ["race", n, times]:
            n, children, there = int(n), [], mmap.mmap(-1, 4096)
            for i in range(n):
                child = os.fork()
                if not child:
                    there[i] = 1
                    while sum(there[:n]) < n:
                        pass
                    for _ in range(int(times)):
                        store()
                    os._exit(0)
                children.append(child)
            for child in children:
                os.waitpid(child, 0)
        case ["end-first-thread"]:
            def go_on():
                while open(f"/proc/self/task/{os.getpid()}/stat").read().split()[2] != "Z":
                    pass
                print("ended", flush=True)
                for line in sys.stdin:
                    store()
            threading.Thread(target=go_on).start()
            ctypes.CDLL(None).syscall(60, 0)  # exit, of this thread alone
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
	return path, File{Device: found.Dev, Inode: found.Ino, Owner: found.Uid, Mode: found.Mode}
}

// find watches a file, where the system lets us.
func find(t *testing.T, file File) *Watch {
	t.Helper()
	w, err := Find(t.Context(), file, 0)
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
func told(t *testing.T, w *Watch) {
	t.Helper()
	waiting := []unix.PollFd{{Fd: int32(w.FD()), Events: unix.POLLIN}}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := unix.Poll(waiting, int(patience.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		if w.Told() {
			return
		}
	}
	t.Fatal("nothing was told")
}

// quiet wants nothing to be told of what has been done already.
func quiet(t *testing.T, w *Watch) {
	t.Helper()
	if w.Told() {
		t.Error("told of a store")
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
				if !w.Counted() || w.Counted() {
					t.Error("what was stored is not counted, or once more")
				}
				told(t, w)
				awaitQuiet(t, w)
			}
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
	told(t, w)
}

func TestStoreBeforeAnybodyWaitsIsTold(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	w := find(t, file)
	writer.does("many 3000")
	told(t, w)
}

// Ranks of one trainer find the same fault at the same moment.
func TestStoresOfTwoProcessesAtTheSameMomentMakeNobodyDeaf(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	w := find(t, file)
	for range 20 {
		writer.does("race 2 50")
		told(t, w)
		awaitQuiet(t, w)
		writer.does("store")
		told(t, w)
		awaitQuiet(t, w)
	}
}

// awaitQuiet takes what is still on its way of stores that were made already.
func awaitQuiet(t *testing.T, w *Watch) {
	t.Helper()
	waiting := []unix.PollFd{{Fd: int32(w.FD()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(waiting, 5)
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
		if err == nil && n == 0 {
			return
		}
		w.Told()
	}
}

func TestTwoWritersAreBothTold(t *testing.T) {
	path, file := shared(t)
	first, second := newWriter(t, path, "write"), newWriter(t, path, "write")
	w := find(t, file)
	for _, writer := range []*writer{first, second, first} {
		writer.does("store")
		told(t, w)
	}
	first.kill()
	second.does("store")
	told(t, w)
}

func TestThreadsOfAProcessWhoseFirstThreadHasEndedAreTold(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	writer.begins("end-first-thread")
	writer.answers("ended")
	w := find(t, file)
	writer.begins("store")
	told(t, w)
}

func TestAnotherProgramDoesNotKeepTheBreakpoint(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	w := find(t, file)
	writer.begins("exec")
	writer.answers("another program")
	awaitQuiet(t, w)
	if _, err := Find(t.Context(), file, 0); !errors.Is(err, ErrNobody) {
		t.Errorf("error = %v", err)
	}
}

func TestWhoCannotStoreIsNotFound(t *testing.T) {
	for _, manner := range []string{"read", "copy"} {
		t.Run(manner, func(t *testing.T) {
			path, file := shared(t)
			newWriter(t, path, manner)
			if _, err := Find(t.Context(), file, 0); !errors.Is(err, ErrNobody) {
				t.Errorf("error = %v", err)
			}
		})
	}
	t.Run("unmapped", func(t *testing.T) {
		path, file := shared(t)
		newWriter(t, path, "write").does("unmap")
		if _, err := Find(t.Context(), file, 0); !errors.Is(err, ErrNobody) {
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
		if _, err := Find(t.Context(), file, 0); !errors.Is(err, ErrNobody) {
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
	if _, err := Find(t.Context(), file, 0); !errors.Is(err, errTooMany) {
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
	if _, err := Find(cancelled, file, 0); !errors.Is(err, context.Canceled) {
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

func TestProcessThatIsHiddenAndMayWriteIsNotOverlooked(t *testing.T) {
	const user, other = 1000, 1001
	for _, test := range []struct {
		name string
		file File
		user uint32
		want bool
	}{
		{"its own file", File{Owner: user, Mode: 0o600}, user, true},
		{"a file of somebody else", File{Owner: other, Mode: 0o600}, user, false},
		{"a file that its group may write to", File{Owner: other, Mode: 0o660}, user, true},
		{"a file that all may write to", File{Owner: other, Mode: 0o666}, user, true},
		{"root", File{Owner: 0, Mode: 0o666}, 0, false},
	} {
		if got := test.file.writable(test.user); got != test.want {
			t.Errorf("%s: may write %v, want %v", test.name, got, test.want)
		}
	}
	if err := hidden(os.Getpid(), File{Owner: uint32(os.Geteuid()) + 1, Mode: 0o600}, unix.EACCES); err != nil {
		t.Errorf("somebody who may not write: %v", err)
	}
}

func TestNameOfAFileFoolsNobody(t *testing.T) {
	file := File{Device: unix.Mkdev(0, 0x1a), Inode: 77}
	for _, test := range []struct {
		name, line string
		want       []uint64
	}{
		{"shared and writable", "7f5e8a000000-7f5e8a001000 rw-s 00000000 00:1a 77                         /dev/shm/signal", []uint64{0x7f5e8a000000}},
		{"removed", "7f5e8a000000-7f5e8a001000 rw-s 00000000 00:1a 77                         /dev/shm/signal (deleted)", []uint64{0x7f5e8a000000}},
		{"writable by another name", "1000-2000 -w-s 00000000 00:1a 77 /a", []uint64{0x1000}},
		{"not writable", "1000-2000 r--s 00000000 00:1a 77 /a", nil},
		{"private", "1000-2000 rw-p 00000000 00:1a 77 /a", nil},
		{"not its start", "1000-2000 rw-s 00001000 00:1a 77 /a", nil},
		{"another file", "1000-2000 rw-s 00000000 00:1a 777 /a", nil},
		{"another device", "1000-2000 rw-s 00000000 00:1b 77 /a", nil},
		{"a name like a mapping", "1000-2000 rw-s 00000000 00:1a 78 /3000-4000 rw-s 00000000 00:1a 77 /a", nil},
		{"a line break in a name", `1000-2000 rw-s 00000000 00:1a 78 /a\0121000-2000 rw-s 00000000 00:1a 77 /a`, nil},
		{"nothing", "", nil},
		{"half a line", "1000-2000 r", nil},
	} {
		got, _, err := findPlaces(strings.NewReader(test.line+"\n"), file)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %x, %v, want %x", test.name, got, err, test.want)
		}
	}
}

func FuzzFindPlaces(f *testing.F) {
	f.Add("7f5e8a000000-7f5e8a001000 rw-s 00000000 00:1a 77 /dev/shm/signal\n")
	f.Add("zz-1 rw-s 00000000 00:1a 77 /a\n")
	f.Fuzz(func(t *testing.T, maps string) {
		places, lines, _ := findPlaces(strings.NewReader(maps), File{Device: unix.Mkdev(0, 0x1a), Inode: 77})
		if len(places) > lines {
			t.Errorf("%d places in %d lines", len(places), lines)
		}
	})
}
