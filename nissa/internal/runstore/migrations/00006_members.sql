-- Who shares the store, by their signs of life.
-- +goose Up
CREATE TABLE nissa_members (
	name TEXT NOT NULL PRIMARY KEY,
	beat BIGINT NOT NULL -- grows with each sign of life
);
