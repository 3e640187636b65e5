-- The time by which it was last judged what is too old.
-- +goose Up
ALTER TABLE nissa_clock ADD COLUMN tidied BIGINT NOT NULL DEFAULT 0;
