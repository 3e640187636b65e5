-- The last values of series, while several take what is told of them from one bus.
-- +goose Up
CREATE TABLE nissa_series (
	hash TEXT NOT NULL PRIMARY KEY, -- of the name and the labels
	said BIGINT NOT NULL, -- by the sender
	heard BIGINT NOT NULL,
	round BIGINT NOT NULL, -- in which it was shared
	record TEXT NOT NULL
);
CREATE INDEX nissa_series_round ON nissa_series (round);
CREATE INDEX nissa_series_heard ON nissa_series (heard);
ALTER TABLE nissa_clock ADD COLUMN rounds BIGINT NOT NULL DEFAULT 0;
