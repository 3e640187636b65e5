-- +goose Up
-- What a controller was handed for each of its decisions, and what came of it.
CREATE TABLE nissa_decisions (
	run TEXT NOT NULL,
	at BIGINT NOT NULL,
	transcript TEXT NOT NULL
);
CREATE INDEX nissa_decisions_run ON nissa_decisions (run, at);
