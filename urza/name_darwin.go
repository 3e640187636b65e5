package urza

import "golang.org/x/sys/unix"

// name gives a file its name unless another has it: fs.ErrExist. Nobody sees a moment
// with both names, or with neither.
func (disk) name(from, to string) error {
	return unix.RenameatxNp(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCL)
}
