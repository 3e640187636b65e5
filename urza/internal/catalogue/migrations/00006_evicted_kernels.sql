-- What an evicted file is: whoever was told of it may fetch it until it goes. A file that
-- nobody was told of has a path alone.
-- +goose Up
ALTER TABLE urza_evicted ADD COLUMN blueprint_id VARCHAR NOT NULL DEFAULT '';
ALTER TABLE urza_evicted ADD COLUMN variant VARCHAR NOT NULL DEFAULT '';
ALTER TABLE urza_evicted ADD COLUMN name VARCHAR NOT NULL DEFAULT '';
ALTER TABLE urza_evicted ADD COLUMN tier VARCHAR NOT NULL DEFAULT '';
ALTER TABLE urza_evicted ADD COLUMN metadata_json TEXT NOT NULL DEFAULT '';
ALTER TABLE urza_evicted ADD COLUMN checksum VARCHAR NOT NULL DEFAULT '';
CREATE INDEX IF NOT EXISTS urza_evicted_checksum ON urza_evicted (checksum);
