CREATE TABLE issues (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL,
    number integer NOT NULL,
    parent_id uuid,
    milestone_id uuid,
    author_id uuid NOT NULL,
    assignee_id uuid,
    state issue_state NOT NULL DEFAULT 'open',
    priority text NOT NULL DEFAULT 'normal' REFERENCES priorities (name),
    title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 300),
    body text NOT NULL DEFAULT '',
    watchers uuid[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    is_closed boolean GENERATED ALWAYS AS (state = 'closed') STORED,
    search tsvector GENERATED ALWAYS AS
        (setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', body), 'B')) STORED,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT issues_number UNIQUE (tenant_id, project_id, number),
    CONSTRAINT issues_project FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT issues_parent FOREIGN KEY (tenant_id, parent_id) REFERENCES issues (tenant_id, id),
    CONSTRAINT issues_milestone FOREIGN KEY (tenant_id, milestone_id)
        REFERENCES milestones (tenant_id, id) ON DELETE SET NULL (milestone_id),
    CONSTRAINT issues_author FOREIGN KEY (tenant_id, author_id) REFERENCES people (tenant_id, id),
    CONSTRAINT issues_assignee FOREIGN KEY (tenant_id, assignee_id)
        REFERENCES people (tenant_id, id) ON DELETE SET NULL (assignee_id),
    CONSTRAINT issues_not_own_parent CHECK (parent_id <> id)
);
CREATE INDEX issues_search ON issues USING gin (search);
CREATE INDEX issues_open ON issues (tenant_id, project_id, updated_at DESC) WHERE NOT is_closed;

CREATE TABLE issue_labels (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    issue_id uuid NOT NULL,
    label_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, issue_id, label_id),
    FOREIGN KEY (tenant_id, issue_id) REFERENCES issues (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, label_id) REFERENCES labels (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE comments (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    issue_id uuid NOT NULL,
    author_id uuid NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, issue_id) REFERENCES issues (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, author_id) REFERENCES people (tenant_id, id)
);

CREATE TABLE attachments (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    comment_id uuid NOT NULL,
    name text NOT NULL,
    content bytea NOT NULL,
    bytes integer GENERATED ALWAYS AS (octet_length(content)) STORED,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, comment_id) REFERENCES comments (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE activity (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id bigint GENERATED ALWAYS AS IDENTITY,
    issue_id uuid NOT NULL,
    was issue_state,
    became issue_state NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, issue_id) REFERENCES issues (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX activity_by_time ON activity USING brin (at);

CREATE TABLE import_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    note text NOT NULL
);
