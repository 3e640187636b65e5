package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrUnchecked says that there is no telling whether a file could be opened.
var ErrUnchecked = errors.New("not looked at")

// Check asks whether a file could be opened as an outbox, or be made one, and changes
// nothing: it opens a copy the way that Open does, with what a process that was killed
// left in the log beside it. An error that wraps ErrUnchecked says nothing of the file.
func Check(ctx context.Context, file string) error {
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
	// Without O_NONBLOCK a pipe of that name would keep us.
	source, err := os.OpenFile(from, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer source.Close()
	if info, err := source.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(errors.New("is no regular file"), err)
	}
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
