-- Restored backups, looks as evidence, and what becomes of a listing that is proven absent.

-- Names this database for ever, in every copy and every backup of it: controllers remember by it how far it had come.
CREATE TABLE fleet (
    name TEXT CONSTRAINT fleet_pk PRIMARY KEY NOT NULL CONSTRAINT fleet_one CHECK (name = 'fleet'),
    database_id BLOB NOT NULL CONSTRAINT fleet_database_length CHECK (length(database_id) = 16)
) STRICT;
INSERT INTO fleet (name, database_id) VALUES ('fleet', randomblob(16));

-- The lives of the database: each restored backup begins a new one. Run leases and stream numbers of an epoch begin at
-- epoch * 2^40, so that no number of an earlier life, forgotten or not, is ever given again.
CREATE TABLE fleet_epochs (
    epoch INTEGER CONSTRAINT fleet_epochs_pk PRIMARY KEY NOT NULL,
    begun_at INTEGER NOT NULL,
    -- The newest run lease that the database knew of when the epoch began.
    known_lease INTEGER NOT NULL,
    -- The agent that knew of more than the database, and is alone concerned; none when all are.
    agent_id BLOB,
    reason TEXT NOT NULL
) STRICT;
INSERT INTO fleet_epochs (epoch, begun_at, known_lease, agent_id, reason) VALUES (0, 0, 0, NULL, 'the database was made');

-- The newest epoch for which the agent has told what its journal holds.
ALTER TABLE agents ADD COLUMN recounted_epoch INTEGER NOT NULL DEFAULT 0;

-- Whether a listing that is proven absent is posted again without asking.
ALTER TABLE accounts ADD COLUMN auto_republish INTEGER NOT NULL DEFAULT 0
    CONSTRAINT accounts_auto_republish CHECK (auto_republish IN (0, 1));

-- What each look for an uncertain listing saw.
CREATE TABLE looks (
    intent_id BLOB NOT NULL CONSTRAINT looks_intent REFERENCES intents (id),
    seq INTEGER NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT looks_workspace REFERENCES workspaces (id),
    posting_id BLOB NOT NULL CONSTRAINT looks_posting REFERENCES postings (id),
    job_id BLOB NOT NULL CONSTRAINT looks_job REFERENCES jobs (id),
    look TEXT NOT NULL,
    taken_at INTEGER NOT NULL,
    CONSTRAINT looks_pk PRIMARY KEY (intent_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX looks_by_posting ON looks (posting_id, taken_at);
