-- Times are microseconds since 1970. A record is JSON; what is asked for by is a column too.
-- +goose Up
-- The place of the newest event or report.
CREATE TABLE nissa_clock (
	number BIGINT NOT NULL
);
INSERT INTO nissa_clock VALUES (0);
CREATE TABLE nissa_runs (
	run TEXT NOT NULL PRIMARY KEY,
	kept_from BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	record TEXT NOT NULL
);
CREATE INDEX nissa_runs_last ON nissa_runs (last_at);
CREATE TABLE nissa_seeds (
	run TEXT NOT NULL,
	seed TEXT NOT NULL,
	record TEXT NOT NULL,
	PRIMARY KEY (run, seed)
);
CREATE TABLE nissa_reports (
	seq INTEGER NOT NULL PRIMARY KEY,
	run TEXT NOT NULL,
	at BIGINT NOT NULL,
	trainer TEXT NOT NULL,
	number BIGINT NOT NULL,
	epoch BIGINT NOT NULL,
	step BIGINT NOT NULL,
	loss DOUBLE PRECISION,
	accuracy DOUBLE PRECISION,
	train_loss DOUBLE PRECISION,
	host_loss DOUBLE PRECISION,
	host_accuracy DOUBLE PRECISION,
	baseline_loss DOUBLE PRECISION,
	baseline_accuracy DOUBLE PRECISION,
	metrics TEXT NOT NULL
);
CREATE INDEX nissa_reports_run ON nissa_reports (run, at);
CREATE TABLE nissa_points (
	run TEXT NOT NULL,
	seed TEXT NOT NULL,
	at BIGINT NOT NULL,
	epoch BIGINT NOT NULL,
	step BIGINT NOT NULL,
	stage TEXT NOT NULL,
	alpha DOUBLE PRECISION,
	metrics TEXT NOT NULL
);
CREATE INDEX nissa_points_seed ON nissa_points (run, seed, at);
CREATE TABLE nissa_events (
	seq INTEGER NOT NULL PRIMARY KEY,
	run TEXT NOT NULL,
	seed TEXT NOT NULL,
	at BIGINT NOT NULL,
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	source TEXT NOT NULL,
	level TEXT NOT NULL,
	details TEXT NOT NULL
);
CREATE INDEX nissa_events_run ON nissa_events (run, seq);
CREATE TABLE nissa_alarms (
	name TEXT NOT NULL,
	subject TEXT NOT NULL,
	last_at BIGINT NOT NULL,
	record TEXT NOT NULL,
	PRIMARY KEY (name, subject)
);
CREATE TABLE nissa_sources (
	name TEXT NOT NULL PRIMARY KEY,
	first_at BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	packets BIGINT NOT NULL,
	record TEXT NOT NULL
);
