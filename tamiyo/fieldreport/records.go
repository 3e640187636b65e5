package fieldreport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
)

// lengthSize is the length prefix of a record in bytes.
const lengthSize = 4

var (
	errTornRecord     = errors.New("record is cut short")
	errOversizeRecord = errors.New("record length is beyond the limit")
	errNoReport       = errors.New("record is no field report")
)

// readAhead is read of a log at a time.
const readAhead = 1 << 20

// readRecords hands over records of at most maxRecord bytes each until the end, or the first
// one that it cannot read. It returns how many bytes they take, and what was wrong behind
// them, nil at a clean end; err is why it could not go on reading.
func readRecords(
	from io.Reader, maxRecord int, each func(report *leyline.FieldReport, size int) error,
) (used int64, torn, err error) {
	reader := bufio.NewReaderSize(from, readAhead)
	var record []byte
	for {
		if record, err = readRecord(reader, record, maxRecord); errors.Is(err, io.EOF) {
			return used, nil, nil
		}
		report := new(leyline.FieldReport)
		if err == nil && proto.Unmarshal(record, report) != nil {
			err = errNoReport
		}
		if errors.Is(err, errTornRecord) || errors.Is(err, errOversizeRecord) || errors.Is(err, errNoReport) {
			return used, fmt.Errorf("record at byte %d: %w", used, err), nil
		}
		if err != nil {
			return used, nil, err
		}
		if err := each(report, lengthSize+len(record)); err != nil {
			return used, nil, err
		}
		used += int64(lengthSize + len(record))
	}
}

// readRecord reads a record into a buffer. At the end it returns io.EOF.
func readRecord(from io.Reader, buffer []byte, maxRecord int) ([]byte, error) {
	var prefix [lengthSize]byte
	if _, err := io.ReadFull(from, prefix[:]); err != nil {
		return nil, asTorn(err)
	}
	length := uint64(binary.LittleEndian.Uint32(prefix[:]))
	switch {
	case length == 0: // what a power cut leaves: a tail of zeros
		return nil, errTornRecord
	case length > uint64(maxRecord):
		return nil, errOversizeRecord
	}
	record := slices.Grow(buffer[:0], int(length))[:length]
	if _, err := io.ReadFull(from, record); errors.Is(err, io.EOF) {
		return nil, errTornRecord
	} else if err != nil {
		return nil, asTorn(err)
	}
	return record, nil
}

// asTorn is an error of io.ReadFull as one of a record.
func asTorn(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errTornRecord
	}
	return err
}

func appendRecord(log []byte, report *leyline.FieldReport) ([]byte, error) {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(report)
	if err != nil {
		return nil, fmt.Errorf("encode field report: %w", err)
	}
	log = binary.LittleEndian.AppendUint32(log, uint32(len(payload)))
	return append(log, payload...), nil
}

// Check asks whether Open could read the log at path, and changes nothing. A tail that
// makes no sense is no fault: Open sets it aside.
func Check(path string) error {
	l := Log{path: path}
	file, err := l.openExisting()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return fmt.Errorf("open field-report log %s: %w", path, err)
	}
	return nil
}

// openExisting opens the log to read it, unless something else than a file lies beside it where
// its index and its mark do.
func (l *Log) openExisting() (*os.File, error) {
	if err := regularfile.Check(l.indexPath(), l.markPath()); err != nil {
		return nil, err
	}
	return regularfile.Open(l.path)
}

// loadRecords reads the log, however large it is, cuts off what a crash left half written
// and opens the file for appending.
func (l *Log) loadRecords() error {
	created := false
	if file, err := l.openExisting(); err == nil {
		err = errors.Join(l.load(file), file.Close())
		if err != nil {
			return err
		}
	} else if created = errors.Is(err, fs.ErrNotExist); !created {
		return err
	}
	file, err := regularfile.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := truncate(file, l.path, l.kept.end, created); err != nil {
		return errors.Join(err, file.Close())
	}
	l.file = file
	return nil
}

// load remembers the reports of a file, of which the last ones are kept.
func (l *Log) load(file *os.File) error {
	now := time.Now()
	used, torn, err := readRecords(file, l.config.MaxRecord, func(report *leyline.FieldReport, size int) error {
		l.kept.add(report, size)
		l.narrow(now)
		return nil
	})
	if err != nil || torn == nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if tail := info.Size() - used; tail <= l.config.MaxBytes {
		return l.setTailAside(io.NewSectionReader(file, used, tail), torn)
	}
	return l.setFileAside(io.NewSectionReader(file, 0, used), torn)
}

// each hands over the reports of a file of the log from one at start on.
func (l *Log) each(file io.ReaderAt, start int64, do func(*leyline.FieldReport) error) error {
	part := io.NewSectionReader(file, start, l.kept.end-start)
	_, torn, err := readRecords(part, l.config.MaxRecord, func(report *leyline.FieldReport, _ int) error { return do(report) })
	return errors.Join(torn, err)
}

func truncate(file *os.File, path string, size int64, created bool) error {
	if err := file.Truncate(size); err != nil {
		return err
	}
	if err := file.Sync(); err != nil || !created {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// setTailAside keeps the bytes for inspection before they are cut off.
func (l *Log) setTailAside(tail *io.SectionReader, cause error) error {
	aside, err := unusedName(l.path + ".torn")
	if err != nil {
		return err
	}
	err = atomicfile.Write(aside, 0o600, func(to io.Writer) error {
		_, err := io.Copy(to, tail)
		return err
	})
	if err != nil {
		return fmt.Errorf("set torn tail aside: %w", err)
	}
	l.config.Logger.Warn("field-report log had an unreadable tail, set aside",
		"path", l.path, "aside", aside, "bytes", tail.Size(), "cause", cause)
	return nil
}

// setFileAside keeps the whole file for inspection, and puts one of its readable records in
// its place: its tail is none that a crash leaves, and too large to copy.
func (l *Log) setFileAside(readable *io.SectionReader, cause error) error {
	aside, err := unusedName(l.path + ".torn")
	if err != nil {
		return err
	}
	if err = os.Link(l.path, aside); err == nil {
		err = atomicfile.Write(l.path, 0o600, func(to io.Writer) error {
			_, err := io.Copy(to, readable)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("set unreadable log aside: %w", err)
	}
	l.config.Logger.Warn("field-report log was mostly unreadable, set aside as a whole",
		"path", l.path, "aside", aside, "readable_bytes", readable.Size(), "cause", cause)
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
