-- What is past its time is found through these, oldest first; none of them has a row for what stays.

-- The time of the row at the horizon, which is gone: a cursor may name that place.
ALTER TABLE tenant ADD COLUMN horizon_us INTEGER NOT NULL DEFAULT 0;

CREATE INDEX record_dead ON record (tenant, time_us) WHERE deleted = 1;
CREATE INDEX refused_at ON refused (at_us);
CREATE INDEX review_closed ON review (at_us) WHERE state <> 1;
