package shmsignal

import (
	"bytes"
	"encoding/binary"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/leyline"
)

// The sizes of the records in bytes.
const (
	rollbackSize    = 16
	emergencySize   = 64
	emergencyHeader = 11 // before the reason
)

// decoded is one record of shared memory.
type decoded struct {
	raised bool // the flag
	level  leyline.EmergencyLevel
	atMs   uint64 // CLOCK_MONOTONIC in ms; 0 is none
	reason string
	bare   bool // the reason is missing, or there is none
	torn   bool // the reason has holes
}

// patience is how long to wait for what the record lacks.
func (s decoded) patience() time.Duration {
	switch {
	case s.atMs == 0 || s.torn:
		return storm
	case s.bare:
		return patienceForReason
	}
	return 0
}

// leftBehind reports whether a record is what a writer went on to write after its
// signal was taken: there is text, and neither flag nor level nor time, which come
// first.
func leftBehind(record []byte, signal decoded) bool {
	return signal.atMs == 0 && binary.NativeEndian.Uint64(record) == 0 && bytes.ContainsFunc(record, func(r rune) bool { return r != 0 })
}

// decodeRollback reads the 16 bytes of the rollback signal: flag, seven unused
// bytes, time.
func decodeRollback(record []byte) decoded {
	return decoded{raised: record[0] == 1, atMs: binary.LittleEndian.Uint64(record[8:])}
}

// decodeEmergency reads the 64 bytes of the emergency signal: flag, level,
// time, length of the reason, reason. A character that the end of the record
// cuts in two is left out. What was cleared is zero until the writer comes to it.
func decodeEmergency(record []byte) decoded {
	length := min(int(record[10]), emergencySize-emergencyHeader)
	reason := string(record[emergencyHeader : emergencyHeader+length])
	return decoded{
		raised: record[0] == 1,
		level:  leyline.EmergencyLevel(record[1]),
		atMs:   binary.LittleEndian.Uint64(record[2:]),
		reason: strings.ToValidUTF8(reason, ""),
		bare:   length == 0,
		torn:   strings.Contains(reason, "\x00"),
	}
}

// sinceMonotonic is the time since a reading of the monotonic clock, or 0 when
// there was none.
func sinceMonotonic(atMs uint64) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	nowNs := now.Nano()
	if atMs == 0 || atMs > uint64(nowNs)/uint64(time.Millisecond) {
		return 0
	}
	return time.Duration(nowNs) - time.Duration(atMs)*time.Millisecond
}
