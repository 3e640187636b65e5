-- What is known of a blueprint beside its kernels, one row for each kind and name: how it
-- was judged (bsds), what it was measured at (benchmark, by device), and what seeds of it
-- came to (outcomes). A blueprint may have notes before it has a kernel, and a save of a
-- kernel leaves them alone.
-- +goose Up
CREATE TABLE IF NOT EXISTS urza_notes (
	blueprint_id VARCHAR NOT NULL,
	kind VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	content TEXT NOT NULL,
	PRIMARY KEY (blueprint_id, kind, name)
);
