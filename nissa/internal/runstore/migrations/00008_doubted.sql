-- For how long the clock was doubted, and when it was looked at last, by itself.
-- +goose Up
ALTER TABLE nissa_clock ADD COLUMN doubted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nissa_clock ADD COLUMN doubted_at BIGINT NOT NULL DEFAULT 0;
