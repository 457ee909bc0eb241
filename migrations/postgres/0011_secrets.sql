-- Secrets that the controller reads are sealed under data keys, which are wrapped by key-encryption keys from outside the database; and sellers'
-- marketplace credentials, which only their agent can open.

SET LOCAL lock_timeout = '5s';

-- One row per scope and version. Scope: a workspace, or the zero UUID for the system.
CREATE TABLE data_keys (
    scope_id uuid NOT NULL,
    -- Of the key-encryption key that wraps it; the same number stands beside what is sealed under it.
    version bigint NOT NULL CONSTRAINT data_keys_version CHECK (version > 0),
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Nothing is sealed under it any more from then on.
    superseded_at timestamptz,
    CONSTRAINT data_keys_pk PRIMARY KEY (scope_id, version)
);
CREATE INDEX data_keys_by_version ON data_keys (version, scope_id);

CREATE INDEX second_factors_by_key ON second_factors (key_version, user_id);

-- The keys that credentials are sealed to, one per agent.
CREATE TABLE agent_credential_keys (
    agent_id uuid CONSTRAINT agent_credential_keys_pk PRIMARY KEY NOT NULL
        CONSTRAINT agent_credential_keys_agent REFERENCES agents (id),
    -- X25519.
    public_key bytea NOT NULL CONSTRAINT agent_credential_keys_length CHECK (length(public_key) = 32),
    -- The agent's bound key (SubjectPublicKeyInfo) and its signature over the agent's id and the public key.
    identity_key bytea NOT NULL,
    signature bytea NOT NULL,
    told_at timestamptz NOT NULL
);

-- At most one per account; the row stays when the credential goes, so that generations only grow.
CREATE TABLE account_credentials (
    account_id uuid CONSTRAINT account_credentials_pk PRIMARY KEY NOT NULL
        CONSTRAINT account_credentials_account REFERENCES accounts (id),
    workspace_id uuid NOT NULL CONSTRAINT account_credentials_workspace REFERENCES workspaces (id),
    -- To whom it is sealed, and to which of its keys.
    agent_id uuid NOT NULL CONSTRAINT account_credentials_agent REFERENCES agents (id),
    key_id text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    state text COLLATE "C" NOT NULL CONSTRAINT account_credentials_state
        CHECK (state IN ('ready', 'refused', 'moved', 'removed') AND (sealed IS NULL) = (state IN ('moved', 'removed'))),
    -- Sealed by the command line to the agent, and once more by the controller under the workspace's data key.
    sealed bytea,
    key_version bigint NOT NULL,
    set_by uuid NOT NULL CONSTRAINT account_credentials_user REFERENCES users (id),
    set_at timestamptz NOT NULL,
    -- When the state began.
    changed_at timestamptz NOT NULL,
    -- When the agent signed in with it last.
    used_at timestamptz
);
CREATE INDEX account_credentials_by_key ON account_credentials (key_version, account_id) WHERE sealed IS NOT NULL;
