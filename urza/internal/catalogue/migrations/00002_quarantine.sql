-- One row for each blueprint whose file was set aside and that no save has healed since.
-- moved_to is empty when the file was left where it lies.
-- +goose Up
CREATE TABLE IF NOT EXISTS urza_quarantine (
	blueprint_id VARCHAR NOT NULL,
	artifact_path VARCHAR NOT NULL,
	expected_checksum VARCHAR NOT NULL,
	actual_checksum VARCHAR NOT NULL,
	moved_to VARCHAR NOT NULL,
	detected_at VARCHAR NOT NULL,
	PRIMARY KEY (blueprint_id)
);
