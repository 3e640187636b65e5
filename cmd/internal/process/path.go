package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// CannotRead is why a file that somebody named is not read, with what to do about it.
func CannotRead(path string, err error) error {
	next := "name another file"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		next = "name a file that is there"
	case errors.Is(err, fs.ErrPermission):
		next = "name one that you may read"
	}
	return unusable("read", path, next, err)
}

// CannotWrite is why a place that somebody named is not written to, with what to do about it.
func CannotWrite(path string, err error) error {
	next := "name another place"
	folder := filepath.Dir(path)
	_, missing := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		next = "name a place that you may write to"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		next = "make room there, or name another place"
	case errors.Is(err, fs.ErrNotExist) && errors.Is(missing, fs.ErrNotExist):
		next = "make the folder " + folder + " first"
	}
	return unusable("write", path, next, err)
}

// unusable leaves out what the error says of the path when that is another way to say it, such as the
// name of a file that was to become this one.
func unusable(verb, path, next string, err error) error {
	cause := err
	if of, is := errors.AsType[*fs.PathError](err); is {
		cause = of.Err
	} else if of, is := errors.AsType[*os.LinkError](err); is {
		cause = of.Err
	}
	what := fmt.Sprintf("cannot %s %s: ", verb, path)
	if strings.HasPrefix(cause.Error(), path+" ") {
		what = ""
	}
	return fmt.Errorf("%s%w: %s", what, cause, next)
}
