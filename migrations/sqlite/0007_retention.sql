-- What old things are found by when they are let go, and what foreign keys to contents are checked by.
CREATE INDEX run_steps_stored ON run_steps (stored_at);
CREATE INDEX evidence_created ON evidence (created_at);
CREATE INDEX evidence_content ON evidence (content_hash);
CREATE INDEX photos_content ON photos (content_hash);
-- Sign-ins and looks that have ended; publish jobs are kept with their postings.
CREATE INDEX jobs_ended ON jobs (updated_at)
    WHERE kind <> 'publish' AND state IN ('succeeded', 'failed', 'cancelled');
-- Counted for the metrics; few at any time.
CREATE INDEX jobs_stuck ON jobs (state) WHERE state IN ('needs_human', 'uncertain');
