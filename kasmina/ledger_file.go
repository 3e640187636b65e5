package kasmina

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The ledger's file is a magic of eight bytes and records of a fixed size,
// each little-endian: expiry and time of issue (Unix milliseconds, 8 bytes
// each), the SHA-256 of the command identifier, CRC-32 of all before it. A
// record whose digest is zero holds the floor in its time of issue. A record
// that is cut short or damaged is left out.
const (
	ledgerMagic      = "WLNONCE1"
	ledgerRecordSize = 8 + 8 + len(nonce{}) + 4
)

// CheckLedger asks whether the ledger in a file could be opened, or be made there.
// It changes nothing.
func CheckLedger(path string) error {
	if _, err := readLedger(path); err != nil {
		return fmt.Errorf("nonce ledger: %w", err)
	}
	return nil
}

func readLedger(path string) ([]spentNonce, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(content) == 0 {
		return nil, nil
	}
	return decodeLedger(content)
}

func decodeLedger(content []byte) ([]spentNonce, error) {
	if len(content) < len(ledgerMagic) && bytes.HasPrefix([]byte(ledgerMagic), content) {
		return nil, nil // torn while the file was begun
	}
	records, ok := bytes.CutPrefix(content, []byte(ledgerMagic))
	if !ok {
		return nil, errors.New("not a nonce ledger")
	}
	var entries []spentNonce
	for len(records) >= ledgerRecordSize {
		if entry, ok := decodeNonce(records[:ledgerRecordSize]); ok {
			entries = append(entries, entry)
		}
		records = records[ledgerRecordSize:]
	}
	return entries, nil
}

func decodeNonce(record []byte) (spentNonce, bool) {
	body := record[:len(record)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(record[len(body):]) {
		return spentNonce{}, false
	}
	entry := spentNonce{expires: millis(body[0:]), issued: millis(body[8:])}
	copy(entry.key[:], body[16:])
	return entry, true
}

func millis(b []byte) time.Time {
	return time.UnixMilli(int64(binary.LittleEndian.Uint64(b)))
}

// appendNonce rounds the time of issue up, so that a floor read back is never
// below the one that was written.
func appendNonce(b []byte, entry spentNonce) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(entry.expires.UnixMilli()))
	b = binary.LittleEndian.AppendUint64(b, uint64(entry.issued.Add(time.Millisecond-1).UnixMilli()))
	b = append(b, entry.key[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

// write puts one record on disk. A ledger without a path keeps nothing there.
func (l *ledger) write(entry spentNonce) error {
	if l.path == "" {
		return nil
	}
	if l.records >= 2*l.capacity {
		if err := l.compact(); err != nil {
			return err
		}
	}
	if err := l.open(); err != nil {
		return err
	}
	if _, err := l.file.Write(appendNonce(nil, entry)); err != nil {
		return errors.Join(err, l.close(), l.compact()) // the tail may be torn: begin anew
	}
	l.records++
	return l.file.Sync()
}

func (l *ledger) open() error {
	if l.file != nil {
		return nil
	}
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // someone removed it: memory has all that counts
		if err := l.compact(); err != nil {
			return err
		}
		file, err = os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0o600)
	}
	if err != nil {
		return err
	}
	l.file = file
	return nil
}

// close releases the file; the next write opens it again.
func (l *ledger) close() error {
	if l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}

// compact replaces the file by one that holds what is remembered.
func (l *ledger) compact() error {
	if err := l.close(); err != nil {
		return err
	}
	content := []byte(ledgerMagic)
	if !l.floor.IsZero() {
		content = appendNonce(content, spentNonce{issued: l.floor, expires: l.floor.Add(nonceTTL)})
	}
	for _, entry := range l.queue {
		content = appendNonce(content, entry)
	}
	if err := replaceFile(l.path, content); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	l.records = len(l.queue)
	return nil
}

// replaceFile puts content at path so that a crash leaves the old or the new
// file and never a part of one.
func replaceFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(handle.Sync(), handle.Close())
}
