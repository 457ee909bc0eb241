-- What the controller knows of an agent's identity beside its key: its join counter, whether it waits for approval, and the newest challenge it answered.
ALTER TABLE agents ADD COLUMN join_counter INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN join_boot_id BLOB;
-- A process that showed a join counter that was shown before.
ALTER TABLE agents ADD COLUMN suspect_boot_id BLOB;
ALTER TABLE agents ADD COLUMN locked_at INTEGER;
ALTER TABLE agents ADD COLUMN lock_reason TEXT CONSTRAINT agents_lock CHECK (lock_reason IN ('cloned', 'away') AND locked_at IS NOT NULL OR lock_reason IS NULL AND locked_at IS NULL);
ALTER TABLE agents ADD COLUMN approved_at INTEGER;
ALTER TABLE agents ADD COLUMN challenge_at INTEGER;
