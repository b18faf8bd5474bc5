-- Gateways that run on their own. A name is used once and for ever: places in a node's journal are told by it.

CREATE TABLE deploy.nodes (
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    -- SHA-256 of the enrolment token, and until when it is good.
    token_digest bytea NOT NULL,
    token_expires_at timestamptz NOT NULL,
    -- Ed25519: what the node proves itself with, and what it signs contexts with. Public halves.
    node_key bytea,
    context_key bytea,
    enrolled_at timestamptz,
    revoked_at timestamptz,
    -- The start of its process that was last heard of, and which process that was.
    boot bigint NOT NULL DEFAULT 0,
    process uuid,
    release text NOT NULL DEFAULT '',
    seen_at timestamptz,
    -- Everything that it recorded by then has arrived.
    complete_to timestamptz,
    CONSTRAINT nodes_pkey PRIMARY KEY (name),
    CONSTRAINT nodes_key_key UNIQUE (node_key),
    CONSTRAINT nodes_name_check CHECK (name ~ '^[a-z][a-z0-9-]{0,38}$'),
    CONSTRAINT nodes_keys_check CHECK ((node_key IS NULL) = (enrolled_at IS NULL) AND (node_key IS NULL) = (context_key IS NULL))
);
GRANT SELECT, INSERT, UPDATE ON deploy.nodes TO rowhouse_app;

-- A node can be asked to take no more requests, until it is asked back. Askings are numbered, so that word of the end of one is
-- not taken for the end of another.
ALTER TABLE deploy.nodes
    ADD COLUMN drains bigint NOT NULL DEFAULT 0,
    ADD COLUMN drain_asked_at timestamptz,
    ADD COLUMN drain_asked_by text,
    -- Everything that it served has ended, and what it recorded has arrived.
    ADD COLUMN drained_at timestamptz,
    ADD CONSTRAINT nodes_drain_check CHECK (
        (drain_asked_at IS NULL) = (drain_asked_by IS NULL) AND (drained_at IS NULL OR drain_asked_at IS NOT NULL)
    );
