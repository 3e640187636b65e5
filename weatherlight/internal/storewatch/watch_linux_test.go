package storewatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/internal/pythontest"
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
type writer struct{ *pythontest.Process }

func newWriter(t *testing.T, path, manner string) writer {
	t.Helper()
	w := writer{pythontest.Start(t, writerSource, path, manner)}
	w.Hear("mapped")
	return w
}

// does has the writer do something, and returns when it is done.
func (w writer) does(what string) {
	w.Say(what)
	w.Hear("done")
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

// find watches a file.
func find(t *testing.T, file File) *Watch {
	t.Helper()
	if err := Granted(); err != nil {
		t.Skip("this machine grants no hardware breakpoints:", err) // which fails TestMachineGrantsBreakpoints in CI
	}
	w, err := Find(t.Context(), file, 0)
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

// Most containers grant no breakpoints. CI does, so that no test is left out there.
func TestMachineGrantsBreakpoints(t *testing.T) {
	err := Granted()
	if os.Getenv("WEATHERLIGHT_TEST_BREAKPOINTS") == "required" && err != nil {
		t.Fatal("this machine grants no hardware breakpoints, and must:", err)
	}
	t.Logf("breakpoints: %v", err)
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
	for _, writer := range []writer{first, second, first} {
		writer.does("store")
		told(t, w)
	}
	first.Kill()
	second.does("store")
	told(t, w)
}

func TestThreadsOfAProcessWhoseFirstThreadHasEndedAreTold(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	writer.Say("end-first-thread")
	writer.Hear("ended")
	w := find(t, file)
	writer.Say("store")
	told(t, w)
}

func TestAnotherProgramDoesNotKeepTheBreakpoint(t *testing.T) {
	path, file := shared(t)
	writer := newWriter(t, path, "write")
	w := find(t, file)
	writer.Say("exec")
	writer.Hear("another program")
	awaitQuiet(t, w)
	if _, err := Find(t.Context(), file, 0); !errors.Is(err, ErrNobody) {
		t.Errorf("error = %v", err)
	}
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
