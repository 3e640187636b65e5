-- What is told seldom is found by its name among what is told often.
-- +goose Up
CREATE INDEX nissa_events_name ON nissa_events (name, seq);
