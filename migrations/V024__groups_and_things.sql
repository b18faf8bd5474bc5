-- Groups of principals, the things of services that grants may be about, and grants on them.

CREATE TABLE access.groups (
    group_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    name text NOT NULL,
    title text NOT NULL DEFAULT '',
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT groups_pkey PRIMARY KEY (group_id),
    CONSTRAINT groups_name_key UNIQUE (tenant_id, name)
);
ALTER TABLE access.groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.groups FORCE ROW LEVEL SECURITY;
CREATE POLICY groups_scope ON access.groups USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON access.groups TO rowhouse_app;

-- Who is in which group. The key begins with the tenant: a group is always looked up within one.
CREATE TABLE access.group_members (
    tenant_id uuid NOT NULL,
    group_id uuid NOT NULL,
    member_kind text NOT NULL,
    member_id uuid NOT NULL,
    valid_from timestamptz,
    valid_until timestamptz,
    added_by text NOT NULL,
    added_at timestamptz NOT NULL,
    CONSTRAINT group_members_pkey PRIMARY KEY (tenant_id, group_id, member_kind, member_id),
    CONSTRAINT group_members_kind_check CHECK (member_kind IN ('user', 'service_account', 'group'))
);
CREATE INDEX group_members_by_member ON access.group_members (tenant_id, member_id);
ALTER TABLE access.group_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.group_members FORCE ROW LEVEL SECURITY;
CREATE POLICY group_members_scope ON access.group_members
    USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON access.group_members TO rowhouse_app;

-- Things, registered by the services that have them. One that is not here has no holder.
CREATE TABLE access.resources (
    tenant_id uuid NOT NULL,
    type text NOT NULL,
    resource_id text NOT NULL,
    parent_type text,
    parent_id text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT resources_pkey PRIMARY KEY (tenant_id, type, resource_id),
    CONSTRAINT resources_parent_check CHECK (num_nonnulls(parent_type, parent_id) IN (0, 2))
);
CREATE INDEX resources_by_parent ON access.resources (tenant_id, parent_type, parent_id)
    WHERE parent_type IS NOT NULL;
ALTER TABLE access.resources ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.resources FORCE ROW LEVEL SECURITY;
CREATE POLICY resources_scope ON access.resources USING (api.sees(tenant_id)) WITH CHECK (api.sees(tenant_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON access.resources TO rowhouse_app;

-- A grant may be about one thing, and to a group or to everyone (whose id is nil).
ALTER TABLE access.grants ADD COLUMN resource_type text;
ALTER TABLE access.grants ADD COLUMN resource_id text;
ALTER TABLE access.grants
    ADD CONSTRAINT grants_resource_check CHECK (num_nonnulls(resource_type, resource_id) IN (0, 2));
CREATE INDEX grants_by_principal ON access.grants (tenant_id, principal_id) WHERE removed_at IS NULL;

-- A role is itself, not its name: a grant of one that was deleted does not come to life with the next of that name.
-- Catalogue roles have no id.
ALTER TABLE access.tenant_roles ADD COLUMN role_id uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE access.grants ADD COLUMN role_id uuid;
