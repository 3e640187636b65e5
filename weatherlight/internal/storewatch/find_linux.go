package storewatch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Find watches a file in all processes but our own that have it mapped for
// writing. It reads the mappings of every process of the machine, which can take
// some milliseconds for each hundred of them, and looks again after a pause for
// those that were being forked meanwhile: they are not seen while their memory is
// copied, and may have been begun before their parent was watched. It fails with
// ErrNobody when there are none, and otherwise with what kept it from watching
// them all: the system refuses, has no debug register left, or hides a process.
func Find(ctx context.Context, file File, pause time.Duration) (*Watch, error) {
	w, err := newWatch()
	if err != nil {
		return nil, err
	}
	if err := w.coverAll(ctx, file, pause); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *Watch) coverAll(ctx context.Context, file File, pause time.Duration) error {
	seen := map[int]bool{os.Getpid(): true}
	if err := w.cover(ctx, file, seen); err != nil {
		return err
	}
	if len(w.breakpoints) == 0 {
		return ErrNobody
	}
	forked := time.NewTimer(pause)
	defer forked.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-forked.C:
		return w.cover(ctx, file, seen)
	}
}

// cover watches the processes that were not seen yet.
func (w *Watch) cover(ctx context.Context, file File, seen map[int]bool) error {
	for found := true; found; {
		pids, err := numbered("/proc")
		if err != nil {
			return fmt.Errorf("list processes: %w", err)
		}
		found = false
		for _, pid := range pids {
			if seen[pid] {
				continue
			}
			seen[pid] = true
			places, err := placesIn(pid, file)
			if err := errors.Join(ctx.Err(), err, w.watchProcess(ctx, pid, places)); err != nil {
				return fmt.Errorf("watch process %d: %w", pid, err)
			}
			found = found || len(places) > 0
		}
	}
	return nil
}

// watchProcess watches places in a process. A thread that is started meanwhile
// inherits that only when the one that starts it has it already.
func (w *Watch) watchProcess(ctx context.Context, pid int, places []uint64) error {
	if len(places) == 0 {
		return nil
	}
	seen := map[int]bool{}
	for found := true; found; {
		threads, err := numbered(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil && !gone(err) {
			return fmt.Errorf("list threads: %w", err)
		}
		found = false
		for _, id := range threads {
			if seen[id] {
				continue
			}
			seen[id], found = true, true
			if err := errors.Join(ctx.Err(), w.watchThread(id, places)); err != nil {
				return fmt.Errorf("watch thread %d: %w", id, err)
			}
		}
	}
	return nil
}

func (w *Watch) watchThread(id int, places []uint64) error {
	for _, place := range places {
		if err := w.add(id, place); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// numbered lists the entries of a folder of /proc that are numbers.
func numbered(folder string) ([]int, error) {
	list, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	names, err := list.Readdirnames(-1)
	if err := errors.Join(err, list.Close()); err != nil {
		return nil, err
	}
	var numbers []int
	for _, name := range names {
		if number, err := strconv.Atoi(name); err == nil {
			numbers = append(numbers, number)
		}
	}
	return numbers, nil
}

// placesIn returns where a process has the start of a file mapped so that its
// stores reach others.
func placesIn(pid int, file File) ([]uint64, error) {
	places, lines, err := mappings(fmt.Sprintf("/proc/%d/maps", pid), file)
	if errors.Is(err, os.ErrPermission) {
		return nil, hidden(pid, file, err)
	}
	if err != nil || lines > 0 {
		return places, err
	}
	// A process whose first thread has ended shows nothing there.
	threads, err := numbered(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil && !gone(err) {
		return nil, fmt.Errorf("list threads: %w", err)
	}
	for _, id := range threads {
		if id == pid {
			continue
		}
		if places, lines, err = mappings(fmt.Sprintf("/proc/%d/task/%d/maps", pid, id), file); err != nil || lines > 0 {
			return places, err
		}
	}
	return nil, nil
}

// hidden says whether it matters that a process cannot be looked into.
func hidden(pid int, file File, cause error) error {
	var process unix.Stat_t
	err := unix.Stat(fmt.Sprintf("/proc/%d", pid), &process)
	if gone(err) || err == nil && !file.writable(process.Uid) {
		return nil
	}
	return fmt.Errorf("may write to the file and cannot be looked into: %w", errors.Join(cause, err))
}

// mappings reads a list of mappings. There are none in a process that has ended,
// or that is of the kernel.
func mappings(path string, file File) (places []uint64, lines int, err error) {
	maps, err := os.Open(path)
	if gone(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, maps.Close()) }()
	places, lines, err = findPlaces(maps, file)
	if err != nil && !gone(err) {
		return nil, 0, fmt.Errorf("read mappings: %w", err)
	}
	return places, lines, nil
}

func findPlaces(maps io.Reader, file File) (places []uint64, lines int, err error) {
	// As in "7f5e8a000000-7f5e8a001000 rw-s 00000000 00:1a 77 /dev/shm/signal".
	mapped := fmt.Appendf(nil, "s 00000000 %02x:%02x %d ", unix.Major(file.Device), unix.Minor(file.Device), file.Inode)
	scanner := bufio.NewScanner(maps)
	for scanner.Scan() {
		lines++
		span, rest, _ := bytes.Cut(scanner.Bytes(), []byte(" "))
		if len(rest) < 3 || rest[1] != 'w' || !bytes.HasPrefix(rest[3:], mapped) {
			continue
		}
		start, _, _ := bytes.Cut(span, []byte("-"))
		place, err := strconv.ParseUint(string(start), 16, 64)
		if err != nil {
			return nil, lines, err
		}
		places = append(places, place)
	}
	return places, lines, scanner.Err()
}

// gone reports whether an error says that a process or thread has ended.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist)
}
