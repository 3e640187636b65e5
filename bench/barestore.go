package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// bareStore does the least that a durable save must do: a file and a row on
// disk, and nothing looked at.
type bareStore struct {
	folder string
	db     *sql.DB
}

func openBareStore(ctx context.Context, folder string) (*bareStore, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(folder, "rows.db")+ // the driver that urza registers
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(1) // waiting for it costs less than polling for SQLite's lock
	if _, err := db.ExecContext(ctx, "CREATE TABLE kernels (name TEXT PRIMARY KEY, path TEXT, metadata TEXT)"); err != nil {
		return nil, errors.Join(fmt.Errorf("make table: %w", err), db.Close())
	}
	return &bareStore{folder, db}, nil
}

func (s *bareStore) close() error { return s.db.Close() }

func (s *bareStore) save(ctx context.Context, number int64, artifact []byte) error {
	path := filepath.Join(s.folder, fmt.Sprintf("%016x.onnx", number))
	if err := writeDurably(path, artifact); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, "INSERT INTO kernels VALUES ($1, $2, $3)", path, path, bareMetadata)
	return err
}

// bareMetadata stands for what a catalogue keeps of a kernel.
const bareMetadata = `{"description": "what a catalogue keeps of a kernel", "parameters": {"scale": [0.5, 2.0]}}`

// writeDurably makes a file appear whole, or not at all.
func writeDurably(path string, content []byte) error {
	file, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
