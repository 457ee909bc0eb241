-- What the controller knows of an agent's identity beside its key: its join counter, whether it waits for approval, and the newest challenge it answered.
SET LOCAL lock_timeout = '5s';

ALTER TABLE agents
    ADD COLUMN join_counter bigint NOT NULL DEFAULT 0,
    ADD COLUMN join_boot_id uuid,
    -- A process that showed a join counter that was shown before.
    ADD COLUMN suspect_boot_id uuid,
    ADD COLUMN locked_at timestamptz,
    ADD COLUMN lock_reason text COLLATE "C" CONSTRAINT agents_lock CHECK (lock_reason IN ('cloned', 'away') AND locked_at IS NOT NULL OR lock_reason IS NULL AND locked_at IS NULL),
    ADD COLUMN approved_at timestamptz,
    ADD COLUMN challenge_at timestamptz;
