-- When an account may publish, in which order its jobs go, dead letters put aside, and one open job of a kind.
SET LOCAL lock_timeout = '5s';

-- The account's own policy; what it does not say is the site's default.
ALTER TABLE accounts ADD COLUMN pacing jsonb NOT NULL DEFAULT '{}';
ALTER TABLE accounts ADD COLUMN paused_at timestamptz;
ALTER TABLE accounts ADD COLUMN cool_down_until timestamptz;
ALTER TABLE accounts ADD COLUMN cool_down_class text COLLATE "C"
    CONSTRAINT accounts_cool_down CHECK ((cool_down_until IS NULL) = (cool_down_class IS NULL));
-- Publications may be claimed from the first moment on and before the second. Follows from the policy, the cool-down and
-- the armed intents, and is written together with what changes them; claims read nothing else.
ALTER TABLE accounts ADD COLUMN publish_from timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00';
ALTER TABLE accounts ADD COLUMN publish_until timestamptz;
ALTER TABLE accounts ADD COLUMN pacing_version bigint NOT NULL DEFAULT 1;
-- Windows that have ended are decided anew by a sweep.
CREATE INDEX accounts_window_ends ON accounts (publish_until) WHERE publish_until IS NOT NULL;
-- The publications that count: armed, and not given back unclicked.
CREATE INDEX intents_used ON intents (account_id, armed_at DESC)
    WHERE armed_at IS NOT NULL AND state <> 'not_clicked';

-- The place among the jobs of the account: creation less the head start of kind and priority.
ALTER TABLE jobs ADD COLUMN turn_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00';
UPDATE jobs SET turn_at = created_at - priority * interval '15 minutes'
    - CASE kind WHEN 'login' THEN interval '2880 hours' WHEN 'reconcile' THEN interval '1440 hours'
                ELSE interval '0' END;
ALTER TABLE jobs ADD COLUMN discarded_at timestamptz;
DROP INDEX jobs_queue;
-- Two, so that a long queue of publications that must wait costs the other jobs nothing.
CREATE INDEX jobs_publications ON jobs (account_id, turn_at, id) WHERE state = 'queued' AND kind = 'publish';
CREATE INDEX jobs_errands ON jobs (account_id, turn_at, id) WHERE state = 'queued' AND kind <> 'publish';
CREATE INDEX jobs_dead_letters ON jobs (workspace_id, created_at DESC, id DESC)
    WHERE state = 'failed' AND discarded_at IS NULL;
CREATE INDEX jobs_errand_runs ON jobs (account_id, kind, run_started_at)
    WHERE kind <> 'publish' AND run_started_at IS NOT NULL;

-- One open sign-in per account and one open look per intent: of several, the one that runs or else the newest stays.
UPDATE jobs SET state = 'cancelled', lease_until = NULL, version = version + 1
WHERE kind <> 'publish' AND state IN ('queued', 'leased', 'running', 'parked', 'needs_human') AND EXISTS (
    SELECT 1 FROM jobs o
    WHERE o.account_id = jobs.account_id AND o.kind = jobs.kind AND o.id <> jobs.id
      AND (o.kind = 'login' OR o.intent_id = jobs.intent_id)
      AND o.state IN ('queued', 'leased', 'running', 'parked', 'needs_human')
      AND (o.lease_until IS NOT NULL AND jobs.lease_until IS NULL
           OR (o.lease_until IS NULL) = (jobs.lease_until IS NULL)
              AND (o.created_at > jobs.created_at OR o.created_at = jobs.created_at AND o.id > jobs.id)));
CREATE UNIQUE INDEX jobs_one_login ON jobs (account_id, kind)
    WHERE kind = 'login' AND state IN ('queued', 'leased', 'running', 'parked', 'needs_human');
CREATE UNIQUE INDEX jobs_one_look ON jobs (intent_id)
    WHERE kind = 'reconcile' AND state IN ('queued', 'leased', 'running', 'parked', 'needs_human');
