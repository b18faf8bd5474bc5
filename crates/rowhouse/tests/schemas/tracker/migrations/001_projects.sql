CREATE TYPE issue_state AS ENUM ('open', 'in_progress', 'blocked', 'closed');
CREATE TYPE member_role AS ENUM ('owner', 'maintainer', 'reporter');
CREATE DOMAIN colour AS text CHECK (VALUE ~ '^#[0-9a-f]{6}$');

CREATE TABLE priorities (
    name text PRIMARY KEY,
    weight integer NOT NULL UNIQUE
);
INSERT INTO priorities VALUES ('low', 10), ('normal', 20), ('high', 30), ('urgent', 40);

CREATE TABLE people (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    email text NOT NULL,
    display_name text NOT NULL CHECK (display_name <> ''),
    settings jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX people_email ON people (tenant_id, lower(email));
CREATE INDEX people_settings ON people USING gin (settings jsonb_path_ops);

CREATE TABLE projects (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    key text NOT NULL CHECK (key ~ '^[A-Z]{2,10}$'),
    name text NOT NULL,
    lead_id uuid,
    last_number integer NOT NULL DEFAULT 0,
    archived_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, key),
    -- Only the column is set to NULL, not tenant_id with it.
    FOREIGN KEY (tenant_id, lead_id) REFERENCES people (tenant_id, id) ON DELETE SET NULL (lead_id)
);

CREATE TABLE project_members (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    project_id uuid NOT NULL,
    person_id uuid NOT NULL,
    role member_role NOT NULL DEFAULT 'reporter',
    PRIMARY KEY (tenant_id, project_id, person_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, person_id) REFERENCES people (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE labels (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL,
    name text NOT NULL,
    colour colour NOT NULL DEFAULT '#888888',
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, project_id, name),
    FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE milestones (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL,
    title text NOT NULL,
    span daterange NOT NULL CHECK (NOT isempty(span)),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE milestones IS 'What is due when.';
