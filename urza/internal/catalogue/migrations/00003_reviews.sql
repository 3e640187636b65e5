-- What an operator decided about a blueprint. An approval belongs to one artifact, by
-- its checksum; setting a blueprint aside outlives its saves. Empty means not decided.
-- +goose Up
CREATE TABLE IF NOT EXISTS urza_reviews (
	blueprint_id VARCHAR NOT NULL,
	approved_checksum VARCHAR NOT NULL,
	approved_at VARCHAR NOT NULL,
	set_aside_at VARCHAR NOT NULL,
	reason VARCHAR NOT NULL,
	PRIMARY KEY (blueprint_id)
);
