-- +goose Up
-- When the packet was made whose figures a record holds: a source may be heard of later.
ALTER TABLE nissa_sources ADD COLUMN figures_at BIGINT NOT NULL DEFAULT 0;
UPDATE nissa_sources SET figures_at = last_at;
