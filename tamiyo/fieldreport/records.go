package fieldreport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
)

// readRecords decodes records of at most maxRecord bytes each until the end of
// content or the first record it cannot read. It returns the reports, how many
// bytes they take, and what was wrong behind them (nil at a clean end).
func readRecords(content []byte, maxRecord int) (reports []*leyline.FieldReport, used int, err error) {
	for used < len(content) {
		report, size, err := readRecord(content[used:], maxRecord)
		if err != nil {
			return reports, used, fmt.Errorf("record at byte %d: %w", used, err)
		}
		reports = append(reports, report)
		used += size
	}
	return reports, used, nil
}

func readRecord(content []byte, maxRecord int) (*leyline.FieldReport, int, error) {
	if len(content) < lengthSize {
		return nil, 0, errTornRecord
	}
	length := uint64(binary.LittleEndian.Uint32(content))
	if length == 0 { // what a power cut leaves: a tail of zeros
		return nil, 0, errTornRecord
	}
	if length > uint64(maxRecord) {
		return nil, 0, errOversizeRecord
	}
	end := lengthSize + int(length)
	if len(content) < end {
		return nil, 0, errTornRecord
	}
	report := new(leyline.FieldReport)
	if err := proto.Unmarshal(content[lengthSize:end], report); err != nil {
		return nil, 0, fmt.Errorf("decode field report: %w", err)
	}
	return report, end, nil
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
	_, err := l.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open field-report log %s: %w", path, err)
	}
	return nil
}

// read returns what is in the log, unless something else than a file lies beside it where
// its index and its mark do.
func (l *Log) read() ([]byte, error) {
	if err := regularfile.Check(l.indexPath(), l.markPath()); err != nil {
		return nil, err
	}
	return regularfile.Read(l.path, maxLog)
}

// loadRecords reads the log, cuts off what a crash left half written and opens
// the file for appending.
func (l *Log) loadRecords() error {
	content, err := l.read()
	created := errors.Is(err, fs.ErrNotExist)
	if err != nil && !created {
		return err
	}
	reports, used, torn := readRecords(content, l.config.MaxRecord)
	if torn != nil {
		if err := l.setTailAside(content[used:], torn); err != nil {
			return err
		}
	}
	file, err := regularfile.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := truncate(file, l.path, int64(used), created); err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size, l.reports = file, int64(used), reports
	return nil
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
func (l *Log) setTailAside(tail []byte, cause error) error {
	aside, err := unusedName(l.path + ".torn")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(aside, tail, 0o600); err != nil {
		return fmt.Errorf("set torn tail aside: %w", err)
	}
	l.config.Logger.Warn("field-report log had an unreadable tail, set aside",
		"path", l.path, "aside", aside, "bytes", len(tail), "cause", cause)
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
