package shmsignal

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// onlyOurs reports whether nobody else has a file open or mapped: only then the
// system grants a lease for writing. It is given back at once, because whoever
// opens the file waits for that. A refusal for another reason, as with another
// user's file, leaves it open who is there.
func onlyOurs(file int) (bool, error) {
	if _, err := unix.FcntlInt(uintptr(file), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return false, nil
	}
	if _, err := unix.FcntlInt(uintptr(file), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		return false, fmt.Errorf("give back lease: %w", err)
	}
	return true, nil
}

// lockedByOther reports whether somebody else holds a shared lock of a file. It
// is not known while somebody asks as we do.
func lockedByOther(file int) (locked, known bool, err error) {
	alone, err := tryFlock(file, unix.LOCK_EX)
	if err != nil || alone {
		return false, true, err
	}
	known, err = tryFlock(file, unix.LOCK_SH)
	return known, known, err
}

// tryFlock reports whether a lock could be taken, and gives it back.
func tryFlock(file, kind int) (bool, error) {
	err := unix.Flock(file, kind|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err == nil {
		err = unix.Flock(file, unix.LOCK_UN)
	}
	if err != nil {
		return false, fmt.Errorf("look for locks: %w", err)
	}
	return true, nil
}
