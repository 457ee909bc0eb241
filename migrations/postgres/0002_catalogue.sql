-- What is for sale and where: accounts, listings, photos and the contents of files.
SET LOCAL lock_timeout = '5s';

CREATE TABLE accounts (
    id uuid CONSTRAINT accounts_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT accounts_workspace REFERENCES workspaces (id),
    name text COLLATE "C" NOT NULL,
    site text COLLATE "C" NOT NULL,
    site_url text COLLATE "C" NOT NULL,
    sign_in_name text COLLATE "C",
    currency text COLLATE "C" NOT NULL CONSTRAINT accounts_currency CHECK (length(currency) = 3),
    -- The agent whose Chrome profile is signed in. Queued jobs follow it.
    agent_id uuid CONSTRAINT accounts_agent REFERENCES agents (id),
    created_at timestamptz NOT NULL,
    version bigint NOT NULL
);
CREATE UNIQUE INDEX accounts_name ON accounts (workspace_id, name);
CREATE INDEX accounts_by_agent ON accounts (agent_id) WHERE agent_id IS NOT NULL;

CREATE TABLE listings (
    id uuid CONSTRAINT listings_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT listings_workspace REFERENCES workspaces (id),
    title text COLLATE "C" NOT NULL,
    description text COLLATE "C" NOT NULL,
    price_minor bigint NOT NULL CONSTRAINT listings_price CHECK (price_minor >= 0),
    currency text COLLATE "C" NOT NULL CONSTRAINT listings_currency CHECK (length(currency) = 3),
    category text COLLATE "C" NOT NULL,
    condition text COLLATE "C" NOT NULL
        CONSTRAINT listings_condition CHECK (condition IN ('new', 'like_new', 'good', 'fair')),
    location text COLLATE "C" NOT NULL,
    sku text COLLATE "C" NOT NULL,
    attributes jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    version bigint NOT NULL
);
CREATE INDEX listings_newest ON listings (workspace_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

-- Contents of photos and evidence, once per hash.
CREATE TABLE blobs (
    sha256 bytea CONSTRAINT blobs_pk PRIMARY KEY NOT NULL CONSTRAINT blobs_hash_length CHECK (length(sha256) = 32),
    content bytea NOT NULL
);

CREATE TABLE photos (
    id uuid CONSTRAINT photos_pk PRIMARY KEY NOT NULL,
    workspace_id uuid NOT NULL CONSTRAINT photos_workspace REFERENCES workspaces (id),
    file_name text COLLATE "C" NOT NULL,
    content_hash bytea NOT NULL CONSTRAINT photos_content REFERENCES blobs (sha256),
    media_type text COLLATE "C" NOT NULL
        CONSTRAINT photos_media_type CHECK (media_type IN ('image/jpeg', 'image/png')),
    bytes bigint NOT NULL,
    width bigint NOT NULL,
    height bigint NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX photos_content_hash ON photos (workspace_id, content_hash);

CREATE TABLE listing_photos (
    listing_id uuid NOT NULL CONSTRAINT listing_photos_listing REFERENCES listings (id),
    position bigint NOT NULL,
    photo_id uuid NOT NULL CONSTRAINT listing_photos_photo REFERENCES photos (id),
    CONSTRAINT listing_photos_pk PRIMARY KEY (listing_id, position)
);
