CREATE TABLE tags (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL DEFAULT gen_random_uuid(), name text NOT NULL, colour char(7) DEFAULT '#000000',
  PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name));
CREATE TABLE ticket_tags (tenant_id uuid NOT NULL DEFAULT rh.stamped(), ticket_id uuid NOT NULL, tag_id uuid NOT NULL,
  PRIMARY KEY (tenant_id, ticket_id, tag_id),
  FOREIGN KEY (tenant_id, ticket_id) REFERENCES tickets ON DELETE CASCADE, FOREIGN KEY (tenant_id, tag_id) REFERENCES tags ON DELETE CASCADE);
CREATE TABLE macros (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL DEFAULT gen_random_uuid(), name text NOT NULL, actions jsonb[] NOT NULL DEFAULT '{}', active boolean NOT NULL DEFAULT true,
  PRIMARY KEY (tenant_id, id));
CREATE UNIQUE INDEX macros_name ON macros (tenant_id, name) WHERE active;
CREATE TABLE sla_policies (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL DEFAULT gen_random_uuid(), name text NOT NULL, first_reply interval NOT NULL, weekdays int4range NOT NULL DEFAULT '[1,6)',
  PRIMARY KEY (tenant_id, id), CHECK (first_reply > interval '0'));
CREATE TABLE sla_clocks (tenant_id uuid NOT NULL DEFAULT rh.stamped(), ticket_id uuid NOT NULL, policy_id uuid NOT NULL, breached_at timestamptz,
  PRIMARY KEY (tenant_id, ticket_id, policy_id),
  FOREIGN KEY (tenant_id, ticket_id) REFERENCES tickets (tenant_id, id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  FOREIGN KEY (tenant_id, policy_id) REFERENCES sla_policies (tenant_id, id));
CREATE TABLE articles (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL DEFAULT gen_random_uuid(), language text NOT NULL REFERENCES languages, slug text NOT NULL COLLATE "C", title text NOT NULL, body text NOT NULL DEFAULT '', doc tsvector,
  path text[] NOT NULL DEFAULT '{}', published daterange,
  PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, language, slug));
CREATE INDEX articles_doc ON articles USING gin (doc);
CREATE INDEX articles_title_trgm ON articles (tenant_id, lower(title) text_pattern_ops);
CREATE TABLE article_feedback (tenant_id uuid NOT NULL DEFAULT rh.stamped(), article_id uuid NOT NULL, contact_id uuid NOT NULL, score int NOT NULL CHECK (score IN (-1, 1)), at timestamptz DEFAULT now(),
  PRIMARY KEY (tenant_id, article_id, contact_id),
  FOREIGN KEY (tenant_id, article_id) REFERENCES articles ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts);
CREATE FUNCTION index_article() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.doc := to_tsvector((SELECT config FROM languages WHERE code = NEW.language), NEW.title || ' ' || NEW.body);
  RETURN NEW;
END $$;
CREATE TRIGGER articles_index BEFORE INSERT OR UPDATE OF title, body ON articles FOR EACH ROW EXECUTE FUNCTION index_article();
CREATE TABLE bookings (tenant_id uuid NOT NULL DEFAULT rh.stamped(), id uuid NOT NULL DEFAULT gen_random_uuid(), agent_id uuid NOT NULL, during tstzrange NOT NULL,
  PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, agent_id) REFERENCES agents,
  CONSTRAINT no_double EXCLUDE USING gist (tenant_id WITH =, agent_id WITH =, during WITH &&));
CREATE VIEW open_tickets AS
  SELECT t.id, t.number, t.subject, t.state, c.name AS contact, a.name AS agent, (SELECT count(*) FROM messages m WHERE m.ticket_id = t.id) AS messages
    FROM tickets t JOIN contacts c ON c.id = t.contact_id LEFT JOIN agents a ON a.id = t.agent_id
   WHERE t.state NOT IN ('solved', 'closed');
CREATE VIEW agent_load AS
  SELECT a.id, a.name, count(t.id) FILTER (WHERE t.urgent) AS urgent, count(t.id) AS open, percentile_cont(0.5) WITHIN GROUP (ORDER BY t.priority) AS median
    FROM agents a LEFT JOIN tickets t ON t.agent_id = a.id AND t.state = 'open' GROUP BY a.id, a.name;
CREATE MATERIALIZED VIEW monthly AS SELECT tenant_id, date_trunc('month', created_at) AS month, count(*) FROM tickets GROUP BY 1, 2;
CREATE FUNCTION search_tickets(words text) RETURNS SETOF tickets LANGUAGE sql STABLE AS $$ SELECT * FROM tickets WHERE tsv @@ websearch_to_tsquery('english', words) ORDER BY ts_rank(tsv, websearch_to_tsquery('english', words)) DESC $$;
