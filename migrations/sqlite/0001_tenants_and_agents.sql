-- Who works in the system: workspaces, users and their tokens, agents and their invitations.
-- Times are microseconds since the Unix epoch (UTC); ids are version 7 UUIDs made by the controller; every name that the code relies on is given explicitly.
CREATE TABLE workspaces (
    id BLOB CONSTRAINT workspaces_pk PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    -- The newest place given out in the workspace's feed. Counted up in the transaction that appends the events.
    event_seq INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX workspaces_name ON workspaces (name);

CREATE TABLE users (
    id BLOB CONSTRAINT users_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT users_workspace REFERENCES workspaces (id),
    email TEXT NOT NULL,
    role TEXT NOT NULL CONSTRAINT users_role CHECK (role IN ('viewer', 'editor', 'owner', 'operator')),
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_email ON users (email);

-- Bearer tokens, as hashes only.
CREATE TABLE tokens (
    id BLOB CONSTRAINT tokens_pk PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL CONSTRAINT tokens_user REFERENCES users (id),
    name TEXT NOT NULL,
    hash BLOB NOT NULL CONSTRAINT tokens_hash_length CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX tokens_hash ON tokens (hash);

CREATE TABLE agents (
    id BLOB CONSTRAINT agents_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT agents_workspace REFERENCES workspaces (id),
    name TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    platform TEXT NOT NULL,
    program_version TEXT NOT NULL,
    -- The number of the newest stream; every write on behalf of a stream is guarded by it.
    session_epoch INTEGER NOT NULL DEFAULT 0,
    boot_id BLOB,
    controller_id BLOB,
    last_seen_at INTEGER,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX agents_key ON agents (key_hash);
CREATE INDEX agents_by_name ON agents (workspace_id, name, id);

-- Single-use invitations, as hashes only.
CREATE TABLE enrolment_tokens (
    id BLOB CONSTRAINT enrolment_tokens_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT enrolment_tokens_workspace REFERENCES workspaces (id),
    created_by BLOB NOT NULL CONSTRAINT enrolment_tokens_user REFERENCES users (id),
    hash BLOB NOT NULL CONSTRAINT enrolment_tokens_hash_length CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    agent_id BLOB CONSTRAINT enrolment_tokens_agent REFERENCES agents (id),
    CONSTRAINT enrolment_tokens_use CHECK ((used_at IS NULL) = (agent_id IS NULL))
) STRICT;
CREATE UNIQUE INDEX enrolment_tokens_hash ON enrolment_tokens (hash);
