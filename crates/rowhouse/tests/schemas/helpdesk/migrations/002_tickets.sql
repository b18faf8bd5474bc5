CREATE TYPE ticket_state AS ENUM ('new', 'open', 'pending', 'on_hold', 'solved', 'closed');
CREATE TYPE money_amount AS (amount numeric(12,2), currency char(3));

CREATE TABLE channels (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id uuid NOT NULL DEFAULT gen_random_uuid(), kind text NOT NULL CHECK (kind IN ('mail','chat','web')),
  address inet, options jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (tenant_id, id)
);
CREATE TABLE counters (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  name text NOT NULL, value bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, name)
);
CREATE TABLE tickets (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  number bigint NOT NULL DEFAULT 0,
  subject text NOT NULL,
  state ticket_state NOT NULL DEFAULT 'new',
  priority smallint NOT NULL DEFAULT 3 CHECK (priority BETWEEN 1 AND 5),
  contact_id uuid NOT NULL,
  agent_id uuid,
  team_id uuid,
  channel_id uuid,
  parent_id uuid,
  cost money_amount,
  custom jsonb NOT NULL DEFAULT '{}',
  due tstzrange,
  tsv tsvector GENERATED ALWAYS AS (setweight(to_tsvector('english', subject), 'A')) STORED,
  urgent boolean GENERATED ALWAYS AS (priority <= 2) STORED,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, number),
  FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id),
  FOREIGN KEY (tenant_id, agent_id) REFERENCES agents (tenant_id, id) ON DELETE SET NULL (agent_id),
  FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE SET NULL (team_id),
  FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, id),
  FOREIGN KEY (tenant_id, parent_id) REFERENCES tickets (tenant_id, id)
);
CREATE INDEX tickets_open ON tickets (tenant_id, agent_id, created_at DESC) WHERE state IN ('new', 'open');
CREATE INDEX tickets_tsv ON tickets USING gin (tsv);
CREATE INDEX tickets_custom ON tickets USING gin (custom jsonb_path_ops);
CREATE TABLE ticket_events (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id bigint GENERATED ALWAYS AS IDENTITY,
  ticket_id uuid NOT NULL,
  kind text NOT NULL,
  before jsonb, after jsonb,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, ticket_id) REFERENCES tickets (tenant_id, id) ON DELETE CASCADE
);
CREATE TABLE messages (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  ticket_id uuid NOT NULL,
  agent_id uuid, contact_id uuid,
  public boolean NOT NULL DEFAULT true,
  body text NOT NULL,
  headers jsonb,
  sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, ticket_id) REFERENCES tickets (tenant_id, id) ON DELETE CASCADE,
  CHECK (num_nonnulls(agent_id, contact_id) = 1)
);
CREATE TABLE attachments (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id bigint GENERATED ALWAYS AS IDENTITY,
  message_id uuid NOT NULL,
  name text NOT NULL, content bytea, size bigint GENERATED ALWAYS AS (octet_length(content)) STORED,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, message_id) REFERENCES messages (tenant_id, id) ON DELETE CASCADE
);
CREATE FUNCTION next_number(counter text) RETURNS bigint LANGUAGE sql AS $$
  INSERT INTO counters (name, value) VALUES (counter, 1)
  ON CONFLICT (tenant_id, name) DO UPDATE SET value = counters.value + 1 RETURNING value
$$;
CREATE FUNCTION number_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.number = 0 THEN NEW.number := next_number('ticket'); END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tickets_number BEFORE INSERT ON tickets FOR EACH ROW EXECUTE FUNCTION number_ticket();
CREATE FUNCTION log_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.state IS DISTINCT FROM OLD.state THEN
    INSERT INTO ticket_events (ticket_id, kind, before, after)
    VALUES (NEW.id, 'state', to_jsonb(OLD.state), to_jsonb(NEW.state));
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO ticket_events (ticket_id, kind, after) VALUES (NEW.id, 'created', to_jsonb(NEW) - 'tsv');
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER tickets_log AFTER INSERT OR UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION log_ticket();
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
CREATE TRIGGER tickets_touch BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE job_queue (id bigserial PRIMARY KEY, kind text NOT NULL, payload jsonb NOT NULL, run_at timestamptz NOT NULL DEFAULT now());
