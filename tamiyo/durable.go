package tamiyo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// replaceFile makes content the content of path in one step: a reader, or the
// next start after a power cut, sees the old file or the new one, never a part.
func replaceFile(path string, content []byte) error {
	temporary := path + ".tmp"
	if err := writeSynced(temporary, content); err != nil {
		return errors.Join(err, removeIfPresent(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, removeIfPresent(temporary))
	}
	return syncDirectory(filepath.Dir(path))
}

func writeSynced(path string, content []byte) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.Sync()
}

func syncDirectory(path string) (err error) {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, directory.Close()) }()
	return directory.Sync()
}

func removeIfPresent(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// unusedName returns the first of base-1, base-2, ... that does not exist yet,
// so that evidence set aside is never overwritten by later evidence.
func unusedName(base string) (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s-%d", base, n)
		_, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
}
