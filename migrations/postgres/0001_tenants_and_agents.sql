-- Who works in the system: workspaces, users and their tokens, agents and their invitations.
-- Times are UTC; ids are version 7 UUIDs made by the controller; every name that the code relies on is given explicitly.
SET LOCAL lock_timeout = '5s';

CREATE TABLE workspaces (
    id uuid CONSTRAINT workspaces_pk PRIMARY KEY NOT NULL,
    name text COLLATE "C" NOT NULL,
    -- The newest place given out in the workspace's feed. Counted up in the transaction that appends the events.
    event_seq bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX workspaces_name ON workspaces (name);

CREATE TABLE users (
    id uuid CONSTRAINT users_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT users_workspace REFERENCES workspaces (id),
    email text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL CONSTRAINT users_role CHECK (role IN ('viewer', 'editor', 'owner', 'operator')),
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (email);

-- Bearer tokens, as hashes only.
CREATE TABLE tokens (
    id uuid CONSTRAINT tokens_pk PRIMARY KEY NOT NULL,
    user_id uuid NOT NULL CONSTRAINT tokens_user REFERENCES users (id),
    name text COLLATE "C" NOT NULL,
    hash bytea NOT NULL CONSTRAINT tokens_hash_length CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX tokens_hash ON tokens (hash);

CREATE TABLE agents (
    id uuid CONSTRAINT agents_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT agents_workspace REFERENCES workspaces (id),
    name text COLLATE "C" NOT NULL,
    key_hash text COLLATE "C" NOT NULL,
    platform text COLLATE "C" NOT NULL,
    program_version text COLLATE "C" NOT NULL,
    -- The number of the newest stream; every write on behalf of a stream is guarded by it.
    session_epoch bigint NOT NULL DEFAULT 0,
    boot_id uuid,
    controller_id uuid,
    last_seen_at timestamptz,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX agents_key ON agents (key_hash);
CREATE INDEX agents_by_name ON agents (workspace_id, name, id);

-- Single-use invitations, as hashes only.
CREATE TABLE enrolment_tokens (
    id uuid CONSTRAINT enrolment_tokens_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT enrolment_tokens_workspace REFERENCES workspaces (id),
    created_by uuid NOT NULL CONSTRAINT enrolment_tokens_user REFERENCES users (id),
    hash bytea NOT NULL CONSTRAINT enrolment_tokens_hash_length CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    agent_id uuid CONSTRAINT enrolment_tokens_agent REFERENCES agents (id),
    CONSTRAINT enrolment_tokens_use CHECK ((used_at IS NULL) = (agent_id IS NULL))
);
CREATE UNIQUE INDEX enrolment_tokens_hash ON enrolment_tokens (hash);
