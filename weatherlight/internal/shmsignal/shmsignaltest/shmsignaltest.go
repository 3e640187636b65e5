// Package shmsignaltest makes segments and the records that trainers write into them,
// for tests.
package shmsignaltest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Name is a name in shared memory that nobody else uses. What lies there when the test
// ends is removed.
func Name(t testing.TB) (name, path string) {
	t.Helper()
	name = fmt.Sprintf("esper-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	path = filepath.Join("/dev/shm", name)
	t.Cleanup(func() { _ = os.Remove(path) })
	return name, path
}

// Write makes a segment of these bytes.
func Write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Emergency is a raised emergency of a monotonic time in milliseconds.
func Emergency(level byte, at uint64, reason string) []byte {
	record := make([]byte, 64)
	record[0], record[1], record[10] = 1, level, byte(len(reason))
	binary.LittleEndian.PutUint64(record[2:], at)
	copy(record[11:], reason)
	return record
}

// Rollback is a raised rollback of a monotonic time in milliseconds.
func Rollback(at uint64) []byte {
	record := make([]byte, 16)
	record[0] = 1
	binary.LittleEndian.PutUint64(record[8:], at)
	return record
}
