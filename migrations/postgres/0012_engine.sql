-- Foreign keys that the engine paid for with a look and a row lock for each event, step and posting, and that hold anyway.
SET LOCAL lock_timeout = '5s';

-- Places of a feed are taken on the workspace's own row, in the same transaction; workspaces are never deleted. All writers
-- of a workspace locked that one row once for each event.
ALTER TABLE events DROP CONSTRAINT events_workspace;
-- Written for jobs that were read in the same transaction. Where a job is let go at that moment, its steps go by their age.
ALTER TABLE run_steps DROP CONSTRAINT run_steps_job;
-- The account says which workspace it is, and is itself a foreign key; its workspace never changes.
ALTER TABLE postings DROP CONSTRAINT postings_workspace;
ALTER TABLE intents DROP CONSTRAINT intents_workspace;
ALTER TABLE jobs DROP CONSTRAINT jobs_workspace;
-- Creations lock the listing's row themselves, to see that it is not deleted.
ALTER TABLE postings DROP CONSTRAINT postings_listing;

-- Parked jobs are counted for the metrics, too, and are as few.
DROP INDEX jobs_stuck;
CREATE INDEX jobs_stuck ON jobs (state) WHERE state IN ('parked', 'needs_human', 'uncertain');
