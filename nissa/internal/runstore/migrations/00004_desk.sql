-- What several judges of alerts share: who of them leads, what was made of all that was judged,
-- and what is still to be judged, in its order.
-- +goose Up
CREATE TABLE nissa_lead (
	token BIGINT NOT NULL, -- grows with each change of the lead
	beat BIGINT NOT NULL, -- grows with each sign of life
	holder TEXT NOT NULL -- empty: nobody
);
INSERT INTO nissa_lead VALUES (0, 0, '');
CREATE TABLE nissa_judged (
	version BIGINT NOT NULL,
	place BIGINT NOT NULL, -- up to which it was judged
	state TEXT NOT NULL,
	aside TEXT NOT NULL -- a state that could not be read
);
INSERT INTO nissa_judged VALUES (0, 0, '', '');
CREATE TABLE nissa_unjudged (
	seq INTEGER NOT NULL PRIMARY KEY,
	body TEXT NOT NULL
);
