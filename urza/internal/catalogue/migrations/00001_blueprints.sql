-- The prototype's table, in its exact form: a catalogue that it made is left as it is.
-- +goose Up
CREATE TABLE IF NOT EXISTS blueprints (
	blueprint_id VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	tier VARCHAR NOT NULL,
	artifact_path VARCHAR NOT NULL,
	metadata_json TEXT NOT NULL,
	PRIMARY KEY (blueprint_id)
);
