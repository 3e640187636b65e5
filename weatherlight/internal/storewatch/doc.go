// Package storewatch tells when another process stores into a file that it has
// mapped. The system tells of writes, of changed times and of who opens a file
// (inotify), but of no store: without this package such a file must be polled.
//
// The processor itself tells: each thread of each process that has the file
// mapped for writing gets a hardware breakpoint on the first eight bytes, set by
// perf_event_open(2). Threads and processes that those start later inherit it.
// The price is the writer's: some microseconds for each store into those eight
// bytes, about one more when one of its threads gives way to another, and one of
// the four debug registers that each thread has.
//
// It needs Linux 5.13, the rights to trace the writer (to be the same user, or
// CAP_PERFMON and CAP_SYS_PTRACE), kernel.perf_event_paranoid of at most 2, no
// filter against perf_event_open, and a writer in the same PID namespace.
//
// It does not tell of a store by the kernel, as by read(2) into the mapping, nor
// of one through a mapping that is made after Find by who has the file open
// already. Who opens it later is for the caller to notice.
package storewatch

import "errors"

// ErrNobody says that no process but our own has a file mapped for writing, of
// those that could have.
var ErrNobody = errors.New("nobody was found who has the file mapped for writing")

// File is a file as stat(2) knows it.
type File struct {
	Device, Inode uint64
	Owner         uint32 // user id
	Mode          uint32 // permission bits
}

// writable reports whether a process of a user may open the file for writing.
// Root, who may open any, is not expected to.
func (f File) writable(user uint32) bool {
	return user != 0 && (user == f.Owner || f.Mode&0o022 != 0)
}
