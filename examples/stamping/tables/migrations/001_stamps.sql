CREATE TABLE stamps (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL,
    hash bytea NOT NULL,
    bytes bigint NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT stamps_pkey PRIMARY KEY (tenant_id, id)
);
CREATE INDEX stamps_by_hash ON stamps (tenant_id, hash);
