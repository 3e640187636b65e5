-- Since when an artifact is known to be referred to by no row.
-- +goose Up
CREATE TABLE IF NOT EXISTS urza_unreferenced (
	artifact_path VARCHAR NOT NULL,
	seen_at VARCHAR NOT NULL,
	PRIMARY KEY (artifact_path)
);
CREATE INDEX IF NOT EXISTS urza_blueprints_artifact ON blueprints (artifact_path);
