-- The audit log. An entry is written with the effect that it tells of, into audit_waiting; the sealer moves it to
-- audit_links, where it has its position in its chain and its hash. See docs/adr/0016-audit.md.

-- Entries without a position yet. No foreign keys: an entry outlives what it tells of.
CREATE TABLE audit_waiting (
    id BLOB CONSTRAINT audit_waiting_pk PRIMARY KEY NOT NULL,
    -- The workspace; nil for the system.
    chain_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    actor_id BLOB,
    proof TEXT NOT NULL,
    proof_id BLOB,
    peer TEXT NOT NULL,
    method TEXT NOT NULL,
    target TEXT NOT NULL,
    target_id BLOB,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    call_id BLOB NOT NULL,
    controller_id BLOB NOT NULL,
    -- JSON: names and texts. Not jsonb: it is hashed as it was written.
    details TEXT NOT NULL
) STRICT;

CREATE TABLE audit_links (
    chain_id BLOB NOT NULL,
    -- From 1, without gaps.
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    actor_id BLOB,
    proof TEXT NOT NULL,
    proof_id BLOB,
    peer TEXT NOT NULL,
    method TEXT NOT NULL,
    target TEXT NOT NULL,
    target_id BLOB,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    call_id BLOB NOT NULL,
    controller_id BLOB NOT NULL,
    details TEXT NOT NULL,
    CONSTRAINT audit_links_pk PRIMARY KEY (chain_id, seq)
) STRICT;
CREATE UNIQUE INDEX audit_links_id ON audit_links (id);
CREATE INDEX audit_links_newest ON audit_links (chain_id, id);

-- How long each chain is, and its last hash.
CREATE TABLE audit_heads (
    chain_id BLOB CONSTRAINT audit_heads_pk PRIMARY KEY NOT NULL,
    count INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Append-only. This keeps mistakes and injected statements out; the database's owner can drop it, and is found by the
-- hashes and by checkpoints outside the database.
CREATE TRIGGER audit_links_edited BEFORE UPDATE ON audit_links
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_links_deleted BEFORE DELETE ON audit_links
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_waiting_edited BEFORE UPDATE ON audit_waiting
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- Those that were given their places are taken out.
CREATE TRIGGER audit_waiting_deleted BEFORE DELETE ON audit_waiting
    WHEN NOT EXISTS (SELECT 1 FROM audit_links l WHERE l.id = OLD.id)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_heads_deleted BEFORE DELETE ON audit_heads
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_heads_shrunk BEFORE UPDATE ON audit_heads
    WHEN NEW.count <= OLD.count OR NEW.chain_id <> OLD.chain_id
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
