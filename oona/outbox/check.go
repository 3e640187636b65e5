package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// ErrUnchecked says that there is no telling whether a file could be opened.
var ErrUnchecked = errors.New("not looked at")

// maxCopy bounds the copy of a check, in bytes: an outbox that holds all it may is smaller.
const maxCopy = 1 << 30

// Check asks whether a file could be opened as an outbox, or be made one, and changes
// nothing: it opens a copy the way that Open does, with what a process that was killed
// left in the log beside it. One that is too large to be copied is read where it is,
// without its log. An error that wraps ErrUnchecked says nothing of the file.
func Check(ctx context.Context, file string) error {
	if err := regularfile.CheckDatabase(file); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	if info, err := os.Stat(file); err == nil && info.Size() > maxCopy {
		return checkInPlace(ctx, file)
	}
	folder, err := os.MkdirTemp("", "weatherlight-check-")
	if err != nil {
		return fmt.Errorf("outbox %s: %w: %w", file, ErrUnchecked, err)
	}
	err = checkCopy(ctx, file, filepath.Join(folder, filepath.Base(file)))
	if err != nil {
		err = fmt.Errorf("outbox %s: %w", file, err)
	}
	return errors.Join(err, os.RemoveAll(folder))
}

// checkInPlace says that the file is immutable: without it even a reader makes files beside
// this one, and leaves them.
func checkInPlace(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=ro&immutable=1")
	if err != nil {
		return fmt.Errorf("outbox %s: %w", file, err)
	}
	defer db.Close()
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_master").Scan(&tables); err != nil {
		return fmt.Errorf("outbox %s: %w", file, err)
	}
	return nil
}

func checkCopy(ctx context.Context, file, to string) error {
	for _, part := range []string{"", "-wal"} {
		if err := copyFile(file+part, to+part); err != nil {
			return err
		}
	}
	db, err := openDatabase(ctx, to)
	if err != nil {
		return err
	}
	return db.Close()
}

// copyFile copies a file that could be written to; one that is not there yet could.
func copyFile(from, to string) error {
	source, err := regularfile.OpenFile(from, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnchecked, err)
	}
	_, err = io.Copy(target, source)
	if err = errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("%w: copy: %w", ErrUnchecked, err)
	}
	return nil
}
