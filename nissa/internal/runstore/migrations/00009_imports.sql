-- The imports that are not done: of their runs nothing is shown.
-- +goose Up
CREATE TABLE nissa_imports (
	run TEXT NOT NULL PRIMARY KEY,
	owner TEXT NOT NULL, -- the import that is the newest of the run
	beat BIGINT NOT NULL -- grows with each portion
);
