-- Restored backups, looks as evidence, and what becomes of a listing that is proven absent.

SET LOCAL lock_timeout = '5s';

-- Names this database for ever, in every copy and every backup of it: controllers remember by it how far it had come.
CREATE TABLE fleet (
    name text COLLATE "C" CONSTRAINT fleet_pk PRIMARY KEY NOT NULL CONSTRAINT fleet_one CHECK (name = 'fleet'),
    database_id uuid NOT NULL
);
INSERT INTO fleet (name, database_id) VALUES ('fleet', gen_random_uuid());

-- The lives of the database: each restored backup begins a new one. Run leases and stream numbers of an epoch begin at
-- epoch * 2^40, so that no number of an earlier life, forgotten or not, is ever given again.
CREATE TABLE fleet_epochs (
    epoch bigint CONSTRAINT fleet_epochs_pk PRIMARY KEY NOT NULL,
    begun_at timestamptz NOT NULL,
    -- The newest run lease that the database knew of when the epoch began.
    known_lease bigint NOT NULL,
    -- The agent that knew of more than the database, and is alone concerned; none when all are.
    agent_id uuid,
    reason text COLLATE "C" NOT NULL
);
INSERT INTO fleet_epochs (epoch, begun_at, known_lease, agent_id, reason)
    VALUES (0, '1970-01-01 00:00:00+00', 0, NULL, 'the database was made');

-- The newest epoch for which the agent has told what its journal holds.
ALTER TABLE agents ADD COLUMN recounted_epoch bigint NOT NULL DEFAULT 0;

-- Whether a listing that is proven absent is posted again without asking.
ALTER TABLE accounts ADD COLUMN auto_republish boolean NOT NULL DEFAULT false;

-- What each look for an uncertain listing saw.
CREATE TABLE looks (
    intent_id uuid NOT NULL CONSTRAINT looks_intent REFERENCES intents (id),
    seq bigint NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT looks_workspace REFERENCES workspaces (id),
    posting_id uuid NOT NULL CONSTRAINT looks_posting REFERENCES postings (id),
    job_id uuid NOT NULL CONSTRAINT looks_job REFERENCES jobs (id),
    look jsonb NOT NULL,
    taken_at timestamptz NOT NULL,
    CONSTRAINT looks_pk PRIMARY KEY (intent_id, seq)
);
CREATE INDEX looks_by_posting ON looks (posting_id, taken_at);
