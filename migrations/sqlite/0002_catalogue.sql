-- What is for sale and where: accounts, listings, photos and the contents of files.
CREATE TABLE accounts (
    id BLOB CONSTRAINT accounts_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT accounts_workspace REFERENCES workspaces (id),
    name TEXT NOT NULL,
    site TEXT NOT NULL,
    site_url TEXT NOT NULL,
    sign_in_name TEXT,
    currency TEXT NOT NULL CONSTRAINT accounts_currency CHECK (length(currency) = 3),
    -- The agent whose Chrome profile is signed in. Queued jobs follow it.
    agent_id BLOB CONSTRAINT accounts_agent REFERENCES agents (id),
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX accounts_name ON accounts (workspace_id, name);
CREATE INDEX accounts_by_agent ON accounts (agent_id) WHERE agent_id IS NOT NULL;

CREATE TABLE listings (
    id BLOB CONSTRAINT listings_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT listings_workspace REFERENCES workspaces (id),
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    price_minor INTEGER NOT NULL CONSTRAINT listings_price CHECK (price_minor >= 0),
    currency TEXT NOT NULL CONSTRAINT listings_currency CHECK (length(currency) = 3),
    category TEXT NOT NULL,
    condition TEXT NOT NULL
        CONSTRAINT listings_condition CHECK (condition IN ('new', 'like_new', 'good', 'fair')),
    location TEXT NOT NULL,
    sku TEXT NOT NULL,
    attributes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX listings_newest ON listings (workspace_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

-- Contents of photos and evidence, once per hash.
CREATE TABLE blobs (
    sha256 BLOB CONSTRAINT blobs_pk PRIMARY KEY NOT NULL CONSTRAINT blobs_hash_length CHECK (length(sha256) = 32),
    content BLOB NOT NULL
) STRICT;

CREATE TABLE photos (
    id BLOB CONSTRAINT photos_pk PRIMARY KEY NOT NULL,
    workspace_id BLOB NOT NULL CONSTRAINT photos_workspace REFERENCES workspaces (id),
    file_name TEXT NOT NULL,
    content_hash BLOB NOT NULL CONSTRAINT photos_content REFERENCES blobs (sha256),
    media_type TEXT NOT NULL
        CONSTRAINT photos_media_type CHECK (media_type IN ('image/jpeg', 'image/png')),
    bytes INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX photos_content_hash ON photos (workspace_id, content_hash);

CREATE TABLE listing_photos (
    listing_id BLOB NOT NULL CONSTRAINT listing_photos_listing REFERENCES listings (id),
    position INTEGER NOT NULL,
    photo_id BLOB NOT NULL CONSTRAINT listing_photos_photo REFERENCES photos (id),
    CONSTRAINT listing_photos_pk PRIMARY KEY (listing_id, position)
) STRICT, WITHOUT ROWID;
