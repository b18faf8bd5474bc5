CREATE EXTENSION IF NOT EXISTS citext;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gist;
-- People and their organisations
CREATE TYPE agent_role AS ENUM ('admin', 'agent', 'light', 'bot');
CREATE DOMAIN email_address AS text CHECK (VALUE ~* '^[^@\s]+@[^@\s]+\.[^@\s]+$');

CREATE TABLE languages (
  code text PRIMARY KEY CHECK (length(code) BETWEEN 2 AND 8),
  name text NOT NULL,
  config regconfig NOT NULL DEFAULT 'simple'
);
INSERT INTO languages (code, name, config) VALUES ('en', 'English', 'english'), ('de', 'Deutsch', 'german'), ('nl', 'Nederlands', 'dutch');

CREATE TABLE agents (
  tenant_id  uuid NOT NULL DEFAULT rh.stamped(),
  id         uuid NOT NULL DEFAULT gen_random_uuid(),
  email      email_address NOT NULL,
  name       text NOT NULL,
  role       agent_role NOT NULL DEFAULT 'agent',
  language   text NOT NULL DEFAULT 'en' REFERENCES languages (code),
  manager_id uuid,
  skills     text[] NOT NULL DEFAULT '{}',
  settings   jsonb NOT NULL DEFAULT '{}'::jsonb,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, manager_id) REFERENCES agents (tenant_id, id) ON DELETE SET NULL (manager_id),
  CHECK (manager_id IS DISTINCT FROM id)
);
CREATE UNIQUE INDEX agents_email ON agents (tenant_id, lower(email));
CREATE INDEX agents_skills ON agents USING gin (skills);
CREATE INDEX agents_settings ON agents USING gin (settings jsonb_path_ops);

CREATE TABLE teams (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        uuid NOT NULL DEFAULT gen_random_uuid(),
  name      text NOT NULL,
  parent_id uuid,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  FOREIGN KEY (tenant_id, parent_id) REFERENCES teams (tenant_id, id)
);
CREATE TABLE team_members (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  team_id uuid NOT NULL, agent_id uuid NOT NULL,
  since date NOT NULL DEFAULT current_date,
  PRIMARY KEY (tenant_id, team_id, agent_id),
  FOREIGN KEY (tenant_id, team_id) REFERENCES teams ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, agent_id) REFERENCES agents ON DELETE CASCADE
);
CREATE TABLE organisations (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        uuid NOT NULL DEFAULT gen_random_uuid(),
  name      text NOT NULL,
  domains   text[] NOT NULL DEFAULT ARRAY[]::text[],
  revenue   numeric(14,2),
  PRIMARY KEY (tenant_id, id)
);
CREATE TABLE contacts (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        uuid NOT NULL DEFAULT gen_random_uuid(),
  organisation_id uuid,
  email     email_address,
  phone     text,
  name      text NOT NULL,
  search    tsvector GENERATED ALWAYS AS (to_tsvector('simple', name || ' ' || coalesce(email::text, ''))) STORED,
  merged_into uuid,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, organisation_id) REFERENCES organisations (tenant_id, id) ON DELETE SET NULL (organisation_id),
  FOREIGN KEY (tenant_id, merged_into) REFERENCES contacts (tenant_id, id),
  CHECK (email IS NOT NULL OR phone IS NOT NULL)
);
CREATE UNIQUE INDEX contacts_email ON contacts (tenant_id, lower(email)) WHERE merged_into IS NULL;
ALTER TABLE contacts ADD COLUMN handle citext, ADD UNIQUE (tenant_id, handle);
CREATE INDEX contacts_trgm ON contacts USING gin (name gin_trgm_ops);
CREATE INDEX contacts_search ON contacts USING gin (search);
