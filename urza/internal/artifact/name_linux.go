package artifact

import "golang.org/x/sys/unix"

// Name gives a file its name unless another has it: fs.ErrExist. Nobody sees a moment
// with both names, or with neither.
func (Disk) Name(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}
