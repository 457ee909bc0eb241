-- Users who sign in, their workspaces, sessions, API tokens and second factors; counters that hold attackers back.
-- Secrets are kept as hashes, but for the seeds of second factors, which the controller must read: those are sealed.

-- SQLite cannot drop a column that references another table, so the table is made anew; its rows come back before the
-- commit, when the references to them are checked.
PRAGMA defer_foreign_keys = ON;
CREATE TEMPORARY TABLE users_before AS SELECT * FROM users;
CREATE TEMPORARY TABLE tokens_before AS SELECT * FROM tokens;
DROP TABLE tokens;
DROP TABLE users;

CREATE TABLE users (
    id BLOB CONSTRAINT users_pk PRIMARY KEY NOT NULL,
    -- In lower case.
    email TEXT NOT NULL,
    state TEXT NOT NULL CONSTRAINT users_state CHECK (state IN ('pending', 'active', 'suspended')),
    is_operator INTEGER NOT NULL DEFAULT FALSE,
    -- PHC string of Argon2id; none for users who only hold API tokens.
    password_hash TEXT,
    created_at INTEGER NOT NULL,
    last_login_at INTEGER
) STRICT;
CREATE UNIQUE INDEX users_email ON users (email);
CREATE INDEX users_by_state ON users (state, email, id);
CREATE INDEX users_operators ON users (id) WHERE is_operator;
-- Addresses that differ in capitals alone were two users: the one that is in lower case already, or the oldest, gets it.
INSERT INTO users (id, email, state, is_operator, created_at)
SELECT id,
       CASE ROW_NUMBER() OVER (PARTITION BY lower(email) ORDER BY email = lower(email) DESC, id)
           WHEN 1 THEN lower(email) ELSE email END,
       'active', role = 'operator', created_at
FROM users_before;

-- Names are for people: two tenants may use the same one, and neither learns of the other.
DROP INDEX workspaces_name;
CREATE INDEX workspaces_by_name ON workspaces (name, id);

CREATE TABLE memberships (
    workspace_id BLOB NOT NULL CONSTRAINT memberships_workspace REFERENCES workspaces (id),
    user_id BLOB NOT NULL CONSTRAINT memberships_user REFERENCES users (id),
    role TEXT NOT NULL CONSTRAINT memberships_role CHECK (role IN ('viewer', 'editor', 'owner')),
    created_at INTEGER NOT NULL,
    CONSTRAINT memberships_pk PRIMARY KEY (workspace_id, user_id)
) STRICT;
CREATE INDEX memberships_by_user ON memberships (user_id, created_at, workspace_id);
INSERT INTO memberships (workspace_id, user_id, role, created_at)
SELECT workspace_id, id, CASE WHEN role = 'operator' THEN 'owner' ELSE role END, created_at FROM users_before;

-- Long-lived tokens for programs; each works in one workspace.
CREATE TABLE api_tokens (
    id BLOB CONSTRAINT api_tokens_pk PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL CONSTRAINT api_tokens_user REFERENCES users (id),
    workspace_id BLOB NOT NULL CONSTRAINT api_tokens_workspace REFERENCES workspaces (id),
    name TEXT NOT NULL,
    -- Separated by spaces; * for everything that the user may do.
    scopes TEXT NOT NULL,
    hash BLOB NOT NULL CONSTRAINT api_tokens_hash_length CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    -- To the hour.
    last_used_at INTEGER
) STRICT;
CREATE UNIQUE INDEX api_tokens_hash ON api_tokens (hash);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at DESC, id DESC);
INSERT INTO api_tokens (id, user_id, workspace_id, name, scopes, hash, created_at, expires_at, revoked_at)
SELECT t.id, t.user_id, u.workspace_id, t.name, '*', t.hash, t.created_at, t.expires_at, t.revoked_at
FROM tokens_before t JOIN users_before u ON u.id = t.user_id;
DROP TABLE tokens_before;
DROP TABLE users_before;

-- Single-use strings that make their holder a member.
CREATE TABLE invitations (
    id BLOB CONSTRAINT invitations_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT invitations_workspace REFERENCES workspaces (id),
    -- Who may accept it; empty: whoever holds the string.
    email TEXT NOT NULL,
    role TEXT NOT NULL CONSTRAINT invitations_role CHECK (role IN ('viewer', 'editor', 'owner')),
    hash BLOB NOT NULL CONSTRAINT invitations_hash_length CHECK (length(hash) = 32),
    created_by BLOB NOT NULL CONSTRAINT invitations_creator REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    accepted_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE UNIQUE INDEX invitations_hash ON invitations (hash);
CREATE INDEX invitations_newest ON invitations (workspace_id, created_at DESC, id DESC);

-- Single-use strings with which a user sets a new password.
CREATE TABLE password_resets (
    hash BLOB CONSTRAINT password_resets_pk PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL CONSTRAINT password_resets_user REFERENCES users (id),
    created_by BLOB NOT NULL CONSTRAINT password_resets_creator REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE INDEX password_resets_by_user ON password_resets (user_id);

-- What a login begins.
CREATE TABLE sessions (
    id BLOB CONSTRAINT sessions_pk PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL CONSTRAINT sessions_user REFERENCES users (id),
    -- Where it works; none: the user was a member of no workspace.
    workspace_id BLOB CONSTRAINT sessions_workspace REFERENCES workspaces (id),
    client TEXT NOT NULL,
    address TEXT NOT NULL,
    -- How often it was refreshed: only a token of this generation may be exchanged.
    generation INTEGER NOT NULL DEFAULT 0,
    -- When the user last proved who they are, by a second factor if they have one.
    proved_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    refreshed_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id, created_at DESC, id DESC);
CREATE INDEX sessions_ended ON sessions (expires_at);

-- The secrets of sessions.
CREATE TABLE session_tokens (
    hash BLOB CONSTRAINT session_tokens_pk PRIMARY KEY NOT NULL,
    session_id BLOB NOT NULL CONSTRAINT session_tokens_session REFERENCES sessions (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CONSTRAINT session_tokens_kind CHECK (kind IN ('access', 'refresh')),
    generation INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX session_tokens_by_session ON session_tokens (session_id);

-- Authenticators.
CREATE TABLE second_factors (
    user_id BLOB CONSTRAINT second_factors_pk PRIMARY KEY NOT NULL CONSTRAINT second_factors_user REFERENCES users (id),
    sealed_seed BLOB NOT NULL,
    -- Of the key that sealed it.
    key_version INTEGER NOT NULL,
    -- The newest time step whose code was used: none at or before it works again.
    last_step INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    -- None: begun, not yet proven to work.
    confirmed_at INTEGER
) STRICT;

CREATE TABLE recovery_codes (
    hash BLOB CONSTRAINT recovery_codes_pk PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL CONSTRAINT recovery_codes_user REFERENCES users (id),
    used_at INTEGER
) STRICT;
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);

-- How often something was tried lately, over all controllers. Times are microseconds since the Unix epoch on both engines.
CREATE TABLE throttles (
    key TEXT CONSTRAINT throttles_pk PRIMARY KEY NOT NULL,
    hits INTEGER NOT NULL,
    until_us INTEGER NOT NULL,
    -- May be deleted after this time.
    forget_us INTEGER NOT NULL
) STRICT;
CREATE INDEX throttles_forgotten ON throttles (forget_us);
