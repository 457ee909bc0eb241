-- The audit log. An entry is written with the effect that it tells of, into audit_waiting; the sealer moves it to
-- audit_links, where it has its position in its chain and its hash. See docs/adr/0016-audit.md.

SET LOCAL lock_timeout = '5s';

-- Entries without a position yet. No foreign keys: an entry outlives what it tells of.
CREATE TABLE audit_waiting (
    id uuid CONSTRAINT audit_waiting_pk PRIMARY KEY NOT NULL,
    -- The workspace; nil for the system.
    chain_id uuid NOT NULL,
    at timestamptz NOT NULL,
    actor text COLLATE "C" NOT NULL,
    actor_id uuid,
    proof text COLLATE "C" NOT NULL,
    proof_id uuid,
    peer text COLLATE "C" NOT NULL,
    method text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    target_id uuid,
    outcome text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    call_id uuid NOT NULL,
    controller_id uuid NOT NULL,
    -- JSON: names and texts. Not jsonb: it is hashed as it was written.
    details text COLLATE "C" NOT NULL
);

CREATE TABLE audit_links (
    chain_id uuid NOT NULL,
    -- From 1, without gaps.
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    actor text COLLATE "C" NOT NULL,
    actor_id uuid,
    proof text COLLATE "C" NOT NULL,
    proof_id uuid,
    peer text COLLATE "C" NOT NULL,
    method text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    target_id uuid,
    outcome text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    call_id uuid NOT NULL,
    controller_id uuid NOT NULL,
    details text COLLATE "C" NOT NULL,
    CONSTRAINT audit_links_pk PRIMARY KEY (chain_id, seq)
);
CREATE UNIQUE INDEX audit_links_id ON audit_links (id);
CREATE INDEX audit_links_newest ON audit_links (chain_id, id);

-- How long each chain is, and its last hash.
CREATE TABLE audit_heads (
    chain_id uuid CONSTRAINT audit_heads_pk PRIMARY KEY NOT NULL,
    count bigint NOT NULL,
    hash bytea NOT NULL
);

-- Append-only. This keeps mistakes and injected statements out; the database's owner can drop it, and is found by the
-- hashes and by checkpoints outside the database.
CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION audit_waiting_is_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM gone g WHERE NOT EXISTS (SELECT 1 FROM audit_links l WHERE l.id = g.id)) THEN
        RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_links_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_links
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();
CREATE TRIGGER audit_waiting_kept BEFORE UPDATE OR TRUNCATE ON audit_waiting
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();
-- Those that were given their places are taken out.
CREATE TRIGGER audit_waiting_moved AFTER DELETE ON audit_waiting REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION audit_waiting_is_moved();
CREATE TRIGGER audit_heads_kept BEFORE DELETE OR TRUNCATE ON audit_heads
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();
CREATE TRIGGER audit_heads_grow BEFORE UPDATE ON audit_heads
    FOR EACH ROW WHEN (NEW.count <= OLD.count OR NEW.chain_id <> OLD.chain_id) EXECUTE FUNCTION audit_is_kept();
