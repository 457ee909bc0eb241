-- PostgreSQL lets go of some foreign keys of the engine's tables here, each of which it paid for with a row lock. SQLite looks
-- into the index of the key and locks nothing: they stay.

-- Parked jobs are counted for the metrics, too, and are as few.
DROP INDEX jobs_stuck;
CREATE INDEX jobs_stuck ON jobs (state) WHERE state IN ('parked', 'needs_human', 'uncertain');
