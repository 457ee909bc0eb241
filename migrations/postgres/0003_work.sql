-- Postings, their intents and jobs, what runs report, and the feed.
SET LOCAL lock_timeout = '5s';

CREATE TABLE postings (
    id uuid CONSTRAINT postings_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT postings_workspace REFERENCES workspaces (id),
    listing_id uuid NOT NULL CONSTRAINT postings_listing REFERENCES listings (id),
    account_id uuid NOT NULL CONSTRAINT postings_account REFERENCES accounts (id),
    generation bigint NOT NULL,
    state text COLLATE "C" NOT NULL CONSTRAINT postings_state CHECK (
        state IN ('queued', 'running', 'published', 'uncertain', 'needs_human', 'failed', 'cancelled')
    ),
    -- Jobs and intents refer to their posting by foreign keys; these two point the other way and are written in the same
    -- transaction, so they have none: a circle of foreign keys would need checks that are deferred to the commit, and
    -- one caller's mistake would then fail a whole group commit.
    job_id uuid NOT NULL,
    intent_id uuid NOT NULL,
    item_id text COLLATE "C",
    item_url text COLLATE "C",
    item_strategy text COLLATE "C",
    failure jsonb,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT postings_item CHECK (
        (item_id IS NULL) = (item_url IS NULL) AND (item_id IS NULL) = (item_strategy IS NULL)
    )
);
CREATE UNIQUE INDEX postings_open ON postings (listing_id, account_id)
    WHERE state IN ('queued', 'running', 'uncertain', 'needs_human');
CREATE UNIQUE INDEX postings_job ON postings (job_id);
CREATE INDEX postings_newest ON postings (workspace_id, created_at DESC, id DESC);
CREATE INDEX postings_by_state ON postings (workspace_id, state, created_at DESC, id DESC);
CREATE INDEX postings_by_account ON postings (account_id, created_at DESC, id DESC);

CREATE TABLE intents (
    id uuid CONSTRAINT intents_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT intents_workspace REFERENCES workspaces (id),
    posting_id uuid NOT NULL CONSTRAINT intents_posting REFERENCES postings (id),
    account_id uuid NOT NULL CONSTRAINT intents_account REFERENCES accounts (id),
    generation bigint NOT NULL,
    state text COLLATE "C" NOT NULL CONSTRAINT intents_state CHECK (
        state IN ('preparing', 'prepared', 'armed', 'confirmed', 'unknown', 'not_clicked', 'absent', 'duplicate',
                  'needs_human')
    ),
    fingerprint text COLLATE "C" NOT NULL,
    permit_id uuid,
    permit_request text COLLATE "C",
    permit_run_lease bigint,
    permit_epoch bigint,
    armed_at timestamptz,
    report_by timestamptz,
    item_id text COLLATE "C",
    item_url text COLLATE "C",
    item_strategy text COLLATE "C",
    reason text COLLATE "C",
    looks_taken bigint NOT NULL,
    looks_clean bigint NOT NULL,
    first_clean_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT intents_permit_whole CHECK (
        (permit_id IS NULL) = (permit_request IS NULL) AND (permit_id IS NULL) = (permit_run_lease IS NULL)
        AND (permit_id IS NULL) = (permit_epoch IS NULL) AND (permit_id IS NULL) = (armed_at IS NULL)
        AND (permit_id IS NULL) = (report_by IS NULL)
    ),
    CONSTRAINT intents_armed_by_permit CHECK (state <> 'armed' OR permit_id IS NOT NULL),
    CONSTRAINT intents_item_whole CHECK (
        (item_id IS NULL) = (item_url IS NULL) AND (item_id IS NULL) = (item_strategy IS NULL)
    )
);
-- I2: at most one click per account whose effect is not known.
CREATE UNIQUE INDEX intents_one_armed ON intents (account_id) WHERE state IN ('armed', 'unknown');
-- I6: one listing on the marketplace confirms at most one intent.
CREATE UNIQUE INDEX intents_item ON intents (account_id, item_id) WHERE item_id IS NOT NULL;
CREATE UNIQUE INDEX intents_permit ON intents (permit_id) WHERE permit_id IS NOT NULL;
CREATE UNIQUE INDEX intents_generation ON intents (posting_id, generation);
CREATE INDEX intents_overdue ON intents (report_by) WHERE state = 'armed';

-- The account's own listing ids before the click: up to 20,000, hence apart from the row that is written often.
CREATE TABLE intent_baselines (
    intent_id uuid CONSTRAINT intent_baselines_pk PRIMARY KEY NOT NULL
        CONSTRAINT intent_baselines_intent REFERENCES intents (id),
    item_ids jsonb NOT NULL
);

CREATE TABLE jobs (
    id uuid CONSTRAINT jobs_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT jobs_workspace REFERENCES workspaces (id),
    kind text COLLATE "C" NOT NULL CONSTRAINT jobs_kind CHECK (kind IN ('login', 'publish', 'reconcile')),
    agent_id uuid NOT NULL CONSTRAINT jobs_agent REFERENCES agents (id),
    account_id uuid NOT NULL CONSTRAINT jobs_account REFERENCES accounts (id),
    posting_id uuid CONSTRAINT jobs_posting REFERENCES postings (id),
    intent_id uuid CONSTRAINT jobs_intent REFERENCES intents (id),
    state text COLLATE "C" NOT NULL CONSTRAINT jobs_state CHECK (
        state IN ('queued', 'leased', 'running', 'parked', 'needs_human', 'uncertain', 'succeeded', 'failed',
                  'cancelled')
    ),
    priority bigint NOT NULL,
    attempt bigint NOT NULL,
    run_lease bigint,
    lease_until timestamptz,
    run_started_at timestamptz,
    run_after timestamptz NOT NULL,
    cancel_requested boolean NOT NULL,
    failure jsonb,
    trace_context text COLLATE "C",
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT jobs_leased CHECK ((state IN ('leased', 'running')) = (lease_until IS NOT NULL)),
    CONSTRAINT jobs_run CHECK (lease_until IS NULL OR run_lease IS NOT NULL)
);
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
CREATE SEQUENCE run_leases AS bigint;

CREATE TABLE run_steps (
    job_id uuid NOT NULL CONSTRAINT run_steps_job REFERENCES jobs (id),
    run_lease bigint NOT NULL,
    seq bigint NOT NULL,
    phase text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL
        CONSTRAINT run_steps_status CHECK (status IN ('started', 'succeeded', 'failed', 'skipped')),
    detail text COLLATE "C" NOT NULL,
    duration_us bigint,
    step_index bigint NOT NULL,
    step_total bigint NOT NULL,
    stored_at timestamptz NOT NULL,
    CONSTRAINT run_steps_pk PRIMARY KEY (job_id, run_lease, seq)
);

CREATE TABLE receipts (
    intent_id uuid CONSTRAINT receipts_pk PRIMARY KEY NOT NULL CONSTRAINT receipts_intent REFERENCES intents (id),
    workspace_id uuid NOT NULL CONSTRAINT receipts_workspace REFERENCES workspaces (id),
    posting_id uuid NOT NULL CONSTRAINT receipts_posting REFERENCES postings (id),
    receipt jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX receipts_by_posting ON receipts (posting_id, created_at);

CREATE TABLE evidence (
    id uuid CONSTRAINT evidence_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT evidence_workspace REFERENCES workspaces (id),
    job_id uuid NOT NULL CONSTRAINT evidence_job REFERENCES jobs (id),
    run_lease bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    media_type text COLLATE "C" NOT NULL,
    bytes bigint NOT NULL,
    content_hash bytea NOT NULL CONSTRAINT evidence_content REFERENCES blobs (sha256),
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX evidence_file ON evidence (job_id, run_lease, name, content_hash);
CREATE INDEX evidence_by_job ON evidence (job_id, created_at, id);

CREATE TABLE events (
    workspace_id uuid NOT NULL CONSTRAINT events_workspace REFERENCES workspaces (id),
    seq bigint NOT NULL,
    stored_at timestamptz NOT NULL,
    kind text COLLATE "C" NOT NULL,
    account_id uuid,
    listing_id uuid,
    posting_id uuid,
    job_id uuid,
    agent_id uuid,
    data jsonb NOT NULL,
    CONSTRAINT events_pk PRIMARY KEY (workspace_id, seq)
);
CREATE INDEX events_by_posting ON events (posting_id, seq) WHERE posting_id IS NOT NULL;
