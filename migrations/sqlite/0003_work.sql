-- Postings, their intents and jobs, what runs report, and the feed.
CREATE TABLE postings (
    id BLOB CONSTRAINT postings_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT postings_workspace REFERENCES workspaces (id),
    listing_id BLOB NOT NULL CONSTRAINT postings_listing REFERENCES listings (id),
    account_id BLOB NOT NULL CONSTRAINT postings_account REFERENCES accounts (id),
    generation INTEGER NOT NULL,
    state TEXT NOT NULL CONSTRAINT postings_state CHECK (
        state IN ('queued', 'running', 'published', 'uncertain', 'needs_human', 'failed', 'cancelled')
    ),
    -- Jobs and intents refer to their posting by foreign keys; these two point the other way and are written in the same
    -- transaction, so they have none: a circle of foreign keys would need checks that are deferred to the commit, and
    -- one caller's mistake would then fail a whole group commit.
    job_id BLOB NOT NULL,
    intent_id BLOB NOT NULL,
    item_id TEXT,
    item_url TEXT,
    item_strategy TEXT,
    failure TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT postings_item CHECK (
        (item_id IS NULL) = (item_url IS NULL) AND (item_id IS NULL) = (item_strategy IS NULL)
    )
) STRICT;
CREATE UNIQUE INDEX postings_open ON postings (listing_id, account_id)
    WHERE state IN ('queued', 'running', 'uncertain', 'needs_human');
CREATE UNIQUE INDEX postings_job ON postings (job_id);
CREATE INDEX postings_newest ON postings (workspace_id, created_at DESC, id DESC);
CREATE INDEX postings_by_state ON postings (workspace_id, state, created_at DESC, id DESC);
CREATE INDEX postings_by_account ON postings (account_id, created_at DESC, id DESC);

CREATE TABLE intents (
    id BLOB CONSTRAINT intents_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT intents_workspace REFERENCES workspaces (id),
    posting_id BLOB NOT NULL CONSTRAINT intents_posting REFERENCES postings (id),
    account_id BLOB NOT NULL CONSTRAINT intents_account REFERENCES accounts (id),
    generation INTEGER NOT NULL,
    state TEXT NOT NULL CONSTRAINT intents_state CHECK (
        state IN ('preparing', 'prepared', 'armed', 'confirmed', 'unknown', 'not_clicked', 'absent', 'duplicate',
                  'needs_human')
    ),
    fingerprint TEXT NOT NULL,
    permit_id BLOB,
    permit_request TEXT,
    permit_run_lease INTEGER,
    permit_epoch INTEGER,
    armed_at INTEGER,
    report_by INTEGER,
    item_id TEXT,
    item_url TEXT,
    item_strategy TEXT,
    reason TEXT,
    looks_taken INTEGER NOT NULL,
    looks_clean INTEGER NOT NULL,
    first_clean_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT intents_permit_whole CHECK (
        (permit_id IS NULL) = (permit_request IS NULL) AND (permit_id IS NULL) = (permit_run_lease IS NULL)
        AND (permit_id IS NULL) = (permit_epoch IS NULL) AND (permit_id IS NULL) = (armed_at IS NULL)
        AND (permit_id IS NULL) = (report_by IS NULL)
    ),
    CONSTRAINT intents_armed_by_permit CHECK (state <> 'armed' OR permit_id IS NOT NULL),
    CONSTRAINT intents_item_whole CHECK (
        (item_id IS NULL) = (item_url IS NULL) AND (item_id IS NULL) = (item_strategy IS NULL)
    )
) STRICT;
-- I2: at most one click per account whose effect is not known.
CREATE UNIQUE INDEX intents_one_armed ON intents (account_id) WHERE state IN ('armed', 'unknown');
-- I6: one listing on the marketplace confirms at most one intent.
CREATE UNIQUE INDEX intents_item ON intents (account_id, item_id) WHERE item_id IS NOT NULL;
CREATE UNIQUE INDEX intents_permit ON intents (permit_id) WHERE permit_id IS NOT NULL;
CREATE UNIQUE INDEX intents_generation ON intents (posting_id, generation);
CREATE INDEX intents_overdue ON intents (report_by) WHERE state = 'armed';

-- The account's own listing ids before the click: up to 20,000, hence apart from the row that is written often.
CREATE TABLE intent_baselines (
    intent_id BLOB CONSTRAINT intent_baselines_pk PRIMARY KEY NOT NULL
        CONSTRAINT intent_baselines_intent REFERENCES intents (id),
    item_ids TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id BLOB CONSTRAINT jobs_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT jobs_workspace REFERENCES workspaces (id),
    kind TEXT NOT NULL CONSTRAINT jobs_kind CHECK (kind IN ('login', 'publish', 'reconcile')),
    agent_id BLOB NOT NULL CONSTRAINT jobs_agent REFERENCES agents (id),
    account_id BLOB NOT NULL CONSTRAINT jobs_account REFERENCES accounts (id),
    posting_id BLOB CONSTRAINT jobs_posting REFERENCES postings (id),
    intent_id BLOB CONSTRAINT jobs_intent REFERENCES intents (id),
    state TEXT NOT NULL CONSTRAINT jobs_state CHECK (
        state IN ('queued', 'leased', 'running', 'parked', 'needs_human', 'uncertain', 'succeeded', 'failed',
                  'cancelled')
    ),
    priority INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    run_lease INTEGER,
    lease_until INTEGER,
    run_started_at INTEGER,
    run_after INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL CONSTRAINT jobs_cancel_requested CHECK (cancel_requested IN (0, 1)),
    failure TEXT,
    trace_context TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT jobs_leased CHECK ((state IN ('leased', 'running')) = (lease_until IS NOT NULL)),
    CONSTRAINT jobs_run CHECK (lease_until IS NULL OR run_lease IS NOT NULL)
) STRICT;
-- A backstop: claims look before they take.
CREATE UNIQUE INDEX jobs_one_run ON jobs (account_id) WHERE state IN ('leased', 'running');
CREATE INDEX jobs_queue ON jobs (account_id, priority DESC, created_at, id) WHERE state = 'queued';
CREATE INDEX jobs_waiting ON jobs (account_id, run_after) WHERE state = 'queued';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state IN ('leased', 'running');
CREATE INDEX jobs_agent_runs ON jobs (agent_id) WHERE state IN ('leased', 'running', 'parked');
CREATE INDEX jobs_newest ON jobs (workspace_id, created_at DESC, id DESC);
CREATE INDEX jobs_by_state ON jobs (workspace_id, state, created_at DESC, id DESC);
CREATE INDEX jobs_by_account ON jobs (account_id, created_at DESC, id DESC);

-- The number of each claim, growing in the whole system.
CREATE TABLE counters (
    name TEXT CONSTRAINT counters_pk PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO counters (name, value) VALUES ('run_leases', 0);

CREATE TABLE run_steps (
    job_id BLOB NOT NULL CONSTRAINT run_steps_job REFERENCES jobs (id),
    run_lease INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    phase TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL
        CONSTRAINT run_steps_status CHECK (status IN ('started', 'succeeded', 'failed', 'skipped')),
    detail TEXT NOT NULL,
    duration_us INTEGER,
    step_index INTEGER NOT NULL,
    step_total INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    CONSTRAINT run_steps_pk PRIMARY KEY (job_id, run_lease, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipts (
    intent_id BLOB CONSTRAINT receipts_pk PRIMARY KEY NOT NULL CONSTRAINT receipts_intent REFERENCES intents (id),
    workspace_id BLOB NOT NULL CONSTRAINT receipts_workspace REFERENCES workspaces (id),
    posting_id BLOB NOT NULL CONSTRAINT receipts_posting REFERENCES postings (id),
    receipt TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX receipts_by_posting ON receipts (posting_id, created_at);

CREATE TABLE evidence (
    id BLOB CONSTRAINT evidence_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT evidence_workspace REFERENCES workspaces (id),
    job_id BLOB NOT NULL CONSTRAINT evidence_job REFERENCES jobs (id),
    run_lease INTEGER NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    content_hash BLOB NOT NULL CONSTRAINT evidence_content REFERENCES blobs (sha256),
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX evidence_file ON evidence (job_id, run_lease, name, content_hash);
CREATE INDEX evidence_by_job ON evidence (job_id, created_at, id);

CREATE TABLE events (
    workspace_id BLOB NOT NULL CONSTRAINT events_workspace REFERENCES workspaces (id),
    seq INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    account_id BLOB,
    listing_id BLOB,
    posting_id BLOB,
    job_id BLOB,
    agent_id BLOB,
    data TEXT NOT NULL,
    CONSTRAINT events_pk PRIMARY KEY (workspace_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_by_posting ON events (posting_id, seq) WHERE posting_id IS NOT NULL;
