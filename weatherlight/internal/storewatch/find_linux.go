package storewatch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Find watches a file in all processes but our own that have it mapped for
// writing. It reads the mappings of every process of the machine, which can take
// some milliseconds for each hundred of them. It fails with ErrNobody when there
// are none, and otherwise with what kept it from watching them all: the system
// refuses, or has no debug register left.
func Find(ctx context.Context, file File) (*Watch, error) {
	w, err := newWatch()
	if err != nil {
		return nil, err
	}
	if err := w.cover(ctx, file); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// cover watches all who are there. A process that was started while we looked
// may have been missed, with a mapping from before its parent was watched.
func (w *Watch) cover(ctx context.Context, file File) error {
	seen := map[int]bool{os.Getpid(): true}
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
			places, err := mappings(pid, file)
			if err := errors.Join(ctx.Err(), err, w.watchProcess(pid, places)); err != nil {
				return fmt.Errorf("watch process %d: %w", pid, err)
			}
			found = found || len(places) > 0
		}
	}
	if len(w.events) == 0 {
		return ErrNobody
	}
	return nil
}

// watchProcess watches places in a process. A thread that is started meanwhile
// inherits that only when the one that starts it has it already.
func (w *Watch) watchProcess(pid int, places []uint64) error {
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
			if err := w.watchThread(id, places); err != nil {
				return fmt.Errorf("watch thread %d: %w", id, err)
			}
		}
	}
	return nil
}

func (w *Watch) watchThread(id int, places []uint64) error {
	for _, place := range places {
		if err := w.add(id, place); err != nil && !gone(err) {
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

// mappings returns where a process has the start of a file mapped so that its
// stores reach others. There is none to see in a process that has ended, or that
// belongs to somebody else.
func mappings(pid int, file File) (places []uint64, err error) {
	maps, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "maps"))
	if gone(err) || errors.Is(err, os.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, maps.Close()) }()
	// As in "7f5e8a000000-7f5e8a001000 rw-s 00000000 00:1a 77 /dev/shm/signal".
	mapped := fmt.Appendf(nil, "s 00000000 %02x:%02x %d ", unix.Major(file.Device), unix.Minor(file.Device), file.Inode)
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		span, rest, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		if len(rest) < 3 || rest[1] != 'w' || !bytes.HasPrefix(rest[3:], mapped) {
			continue
		}
		start, _, _ := bytes.Cut(span, []byte("-"))
		place, err := strconv.ParseUint(string(start), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("read mappings: %w", err)
		}
		places = append(places, place)
	}
	if err := lines.Err(); err != nil && !gone(err) {
		return nil, fmt.Errorf("read mappings: %w", err)
	}
	return places, nil
}

// gone reports whether an error says that a process or thread has ended.
func gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist)
}
