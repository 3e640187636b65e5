-- Kernels of a blueprint for other slots and other parameters, one row for each variant
-- that was asked for, beside the prototype's table, which keeps its form.
-- used_at is when one was last asked for, in milliseconds of Unix time; quarantined_at is
-- empty while the file is sound. urza_evicted are the files of variants that had to make
-- room, since when.
-- +goose Up
CREATE TABLE IF NOT EXISTS urza_variants (
	blueprint_id VARCHAR NOT NULL,
	variant VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	tier VARCHAR NOT NULL,
	artifact_path VARCHAR NOT NULL,
	metadata_json TEXT NOT NULL,
	checksum VARCHAR NOT NULL,
	quarantined_at VARCHAR NOT NULL,
	used_at BIGINT NOT NULL,
	PRIMARY KEY (blueprint_id, variant)
);
CREATE INDEX IF NOT EXISTS urza_variants_checksum ON urza_variants (checksum);
CREATE INDEX IF NOT EXISTS urza_variants_artifact ON urza_variants (artifact_path);
CREATE TABLE IF NOT EXISTS urza_evicted (
	artifact_path VARCHAR NOT NULL,
	evicted_at BIGINT NOT NULL,
	PRIMARY KEY (artifact_path)
);
