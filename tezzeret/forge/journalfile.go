package forge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
)

// ErrJournalBusy says that another process forges with the same journal.
var ErrJournalBusy = errors.New("tezzeret: the forge journal is in use by another process")

const (
	maxJournalBytes = 64 << 20

	// compactAbove is the number of lines beyond which opening writes the file
	// anew, as short as it can be.
	compactAbove = 1024
)

// journal is that state and the file that outlives the process: one JSON object a
// line, appended and synchronised before the step that it speaks of. Without a
// path it lives in memory only. It belongs to one goroutine.
type journal struct {
	*journalState
	path string
	file *os.File
	lock *flock.Flock
	torn bool // the last line may be half-written
}

// openJournal reads the journal, or starts one, and keeps other processes out
// until close. What a kill left half-written at the end is cut off; any other
// line that makes no sense is left out and told about. An empty path gives a
// journal in memory that goes on from the given state.
func openJournal(path string, memory *journalState, logger *slog.Logger) (_ *journal, err error) {
	j := &journal{journalState: memory, path: path}
	if path == "" {
		return j, nil
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("tezzeret: open forge journal: %w", err), j.close())
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	if j.lock, err = lockFile(path + ".lock"); err != nil {
		return nil, err
	}
	if err := atomicfile.Sweep(path); err != nil {
		return nil, err
	}
	j.journalState = newJournalState()
	lines, whole, err := j.read(logger)
	if err != nil {
		return nil, err
	}
	if lines > compactAbove {
		if err := j.compact(); err != nil {
			return nil, err
		}
		whole = -1
	}
	return j, j.openFile(whole)
}

func lockFile(path string) (*flock.Flock, error) {
	if err := regularfile.Check(path); err != nil {
		return nil, err
	}
	lock := flock.New(path, flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		err = ErrJournalBusy
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// read fills the state, and returns the number of lines and the length of the
// file up to the last whole one.
func (j *journal) read(logger *slog.Logger) (lines int, whole int64, err error) {
	text, err := regularfile.Read(j.path, maxJournalBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	lines, whole = j.takeLines(text, func(line int, err error) {
		logger.Warn("line of the forge journal left out", "path", j.path, "line", line, "error", err)
	})
	return lines, whole, nil
}

// takeLines takes the whole lines of a journal, leaves out and tells about
// those that make no sense, and returns their number and length.
func (l *journalState) takeLines(text []byte, leftOut func(line int, err error)) (lines int, whole int64) {
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for line := range bytes.Lines(text) {
		lines++
		if len(line) == 1 { // it ended a torn line that turned out to be whole
			continue
		}
		var e entry
		err := json.Unmarshal(line, &e)
		if err == nil {
			err = l.take(e)
		}
		if err != nil {
			leftOut(lines, err)
		}
	}
	return lines, int64(len(text))
}

// compact replaces the file by the shortest one that says the same, at once or
// not at all.
func (j *journal) compact() error {
	entries, err := j.entries()
	if err != nil {
		return err
	}
	text, err := encode(entries)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(j.path, text, 0o600)
}

// openFile opens the file for appending after its whole lines, or all of it
// when whole is negative.
func (j *journal) openFile(whole int64) (err error) {
	j.file, err = regularfile.OpenFile(j.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if whole >= 0 {
		if err := j.file.Truncate(whole); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(filepath.Dir(j.path))
}

// append writes entries in one piece, waits until they are on the disk, and
// takes them into the state.
func (j *journal) append(entries ...entry) error {
	if err := j.write(entries); err != nil {
		return fmt.Errorf("tezzeret: write forge journal: %w", err)
	}
	for _, e := range entries {
		if err := j.take(e); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) appendStored(update *leyline.KernelCatalogUpdate, digest string) error {
	e, err := storedEntry(update, digest)
	if err != nil {
		return err
	}
	return j.append(e)
}

// write puts entries on lines of their own, also after a line that a full disk has
// cut short.
func (j *journal) write(entries []entry) error {
	if j.file == nil {
		return nil
	}
	if err := j.inPlace(); err != nil {
		return err
	}
	text, err := encode(entries)
	if err != nil {
		return err
	}
	if j.torn {
		text = append([]byte{'\n'}, text...)
	}
	j.torn = true
	if _, err := j.file.Write(text); err != nil {
		return err
	}
	j.torn = false
	return j.file.Sync()
}

// inPlace reports what was removed under the journal: a file whose lines are gone with the
// process, or a lock that keeps nobody out.
func (j *journal) inPlace() error {
	if j.file == nil {
		return nil
	}
	return errors.Join(regularfile.InPlace(j.path, j.file), regularfile.InPlace(j.lock.Path(), j.lock))
}

func encode(entries []entry) ([]byte, error) {
	var text []byte
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		text = append(append(text, line...), '\n')
	}
	return text, nil
}

// close lets other processes in.
func (j *journal) close() error {
	var errs []error
	if j.file != nil {
		errs = append(errs, j.file.Close())
	}
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
	}
	return errors.Join(errs...)
}
