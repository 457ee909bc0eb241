-- Users who sign in, their workspaces, sessions, API tokens and second factors; counters that hold attackers back.
-- Secrets are kept as hashes, but for the seeds of second factors, which the controller must read: those are sealed.

SET LOCAL lock_timeout = '5s';

ALTER TABLE users
    ADD COLUMN state text COLLATE "C" NOT NULL DEFAULT 'active' CONSTRAINT users_state CHECK (state IN ('pending', 'active', 'suspended')),
    ADD COLUMN is_operator boolean NOT NULL DEFAULT FALSE,
    -- PHC string of Argon2id; none for users who only hold API tokens.
    ADD COLUMN password_hash text COLLATE "C",
    ADD COLUMN last_login_at timestamptz;
CREATE INDEX users_by_state ON users (state, email, id);
CREATE INDEX users_operators ON users (id) WHERE is_operator;

-- Names are for people: two tenants may use the same one, and neither learns of the other.
DROP INDEX workspaces_name;
CREATE INDEX workspaces_by_name ON workspaces (name, id);

CREATE TABLE memberships (
    workspace_id uuid NOT NULL CONSTRAINT memberships_workspace REFERENCES workspaces (id),
    user_id uuid NOT NULL CONSTRAINT memberships_user REFERENCES users (id),
    role text COLLATE "C" NOT NULL CONSTRAINT memberships_role CHECK (role IN ('viewer', 'editor', 'owner')),
    created_at timestamptz NOT NULL,
    CONSTRAINT memberships_pk PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id, created_at, workspace_id);
INSERT INTO memberships (workspace_id, user_id, role, created_at)
SELECT workspace_id, id, CASE WHEN role = 'operator' THEN 'owner' ELSE role END, created_at FROM users;

-- Long-lived tokens for programs; each works in one workspace.
CREATE TABLE api_tokens (
    id uuid CONSTRAINT api_tokens_pk PRIMARY KEY NOT NULL,
    user_id uuid NOT NULL CONSTRAINT api_tokens_user REFERENCES users (id),
    workspace_id uuid NOT NULL CONSTRAINT api_tokens_workspace REFERENCES workspaces (id),
    name text COLLATE "C" NOT NULL,
    -- Separated by spaces; * for everything that the user may do.
    scopes text COLLATE "C" NOT NULL,
    hash bytea NOT NULL CONSTRAINT api_tokens_hash_length CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    -- To the hour.
    last_used_at timestamptz
);
CREATE UNIQUE INDEX api_tokens_hash ON api_tokens (hash);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at DESC, id DESC);
INSERT INTO api_tokens (id, user_id, workspace_id, name, scopes, hash, created_at, expires_at, revoked_at)
SELECT t.id, t.user_id, u.workspace_id, t.name, '*', t.hash, t.created_at, t.expires_at, t.revoked_at
FROM tokens t JOIN users u ON u.id = t.user_id;
DROP TABLE tokens;

UPDATE users SET is_operator = role = 'operator';
-- Addresses that differ in capitals alone were two users: the one that is in lower case already, or the oldest, gets it.
UPDATE users SET email = lower(users.email)
FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY lower(email) ORDER BY email = lower(email) DESC, id) AS place FROM users) ranked
WHERE ranked.id = users.id AND ranked.place = 1 AND users.email <> lower(users.email);
ALTER TABLE users DROP COLUMN workspace_id, DROP COLUMN role, ALTER COLUMN state DROP DEFAULT;

-- Single-use strings that make their holder a member.
CREATE TABLE invitations (
    id uuid CONSTRAINT invitations_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT invitations_workspace REFERENCES workspaces (id),
    -- Who may accept it; empty: whoever holds the string.
    email text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL CONSTRAINT invitations_role CHECK (role IN ('viewer', 'editor', 'owner')),
    hash bytea NOT NULL CONSTRAINT invitations_hash_length CHECK (length(hash) = 32),
    created_by uuid NOT NULL CONSTRAINT invitations_creator REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    accepted_at timestamptz,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX invitations_hash ON invitations (hash);
CREATE INDEX invitations_newest ON invitations (workspace_id, created_at DESC, id DESC);

-- Single-use strings with which a user sets a new password.
CREATE TABLE password_resets (
    hash bytea CONSTRAINT password_resets_pk PRIMARY KEY NOT NULL,
    user_id uuid NOT NULL CONSTRAINT password_resets_user REFERENCES users (id),
    created_by uuid NOT NULL CONSTRAINT password_resets_creator REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX password_resets_by_user ON password_resets (user_id);

-- What a login begins.
CREATE TABLE sessions (
    id uuid CONSTRAINT sessions_pk PRIMARY KEY NOT NULL,
    user_id uuid NOT NULL CONSTRAINT sessions_user REFERENCES users (id),
    -- Where it works; none: the user was a member of no workspace.
    workspace_id uuid CONSTRAINT sessions_workspace REFERENCES workspaces (id),
    client text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    -- How often it was refreshed: only a token of this generation may be exchanged.
    generation bigint NOT NULL DEFAULT 0,
    -- When the user last proved who they are, by a second factor if they have one.
    proved_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    refreshed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at DESC, id DESC);
CREATE INDEX sessions_ended ON sessions (expires_at);

-- The secrets of sessions.
CREATE TABLE session_tokens (
    hash bytea CONSTRAINT session_tokens_pk PRIMARY KEY NOT NULL,
    session_id uuid NOT NULL CONSTRAINT session_tokens_session REFERENCES sessions (id) ON DELETE CASCADE,
    kind text COLLATE "C" NOT NULL CONSTRAINT session_tokens_kind CHECK (kind IN ('access', 'refresh')),
    generation bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX session_tokens_by_session ON session_tokens (session_id);

-- Authenticators.
CREATE TABLE second_factors (
    user_id uuid CONSTRAINT second_factors_pk PRIMARY KEY NOT NULL CONSTRAINT second_factors_user REFERENCES users (id),
    sealed_seed bytea NOT NULL,
    -- Of the key that sealed it.
    key_version bigint NOT NULL,
    -- The newest time step whose code was used: none at or before it works again.
    last_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    -- None: begun, not yet proven to work.
    confirmed_at timestamptz
);

CREATE TABLE recovery_codes (
    hash bytea CONSTRAINT recovery_codes_pk PRIMARY KEY NOT NULL,
    user_id uuid NOT NULL CONSTRAINT recovery_codes_user REFERENCES users (id),
    used_at timestamptz
);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);

-- How often something was tried lately, over all controllers. Times are microseconds since the Unix epoch on both engines.
CREATE TABLE throttles (
    key text COLLATE "C" CONSTRAINT throttles_pk PRIMARY KEY NOT NULL,
    hits bigint NOT NULL,
    until_us bigint NOT NULL,
    -- May be deleted after this time.
    forget_us bigint NOT NULL
);
CREATE INDEX throttles_forgotten ON throttles (forget_us);
