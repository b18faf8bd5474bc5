-- What an older application brings along: sequences with serials' names, a table partitioned by month by hand, deferred and
-- statement triggers, a procedure, ranges of ranges, an aggregate, an operator, XML, rules of its own for sorting.
CREATE COLLATION natural_order (provider = icu, locale = 'en-u-kn-true');
CREATE SEQUENCE invoice_numbers START 1000;
CREATE TYPE invoice_state AS ENUM ('draft', 'sent', 'paid');
ALTER TYPE invoice_state ADD VALUE IF NOT EXISTS 'void' AFTER 'paid';
CREATE DOMAIN positive_money AS numeric(14, 2) NOT NULL DEFAULT 0 CHECK (VALUE >= 0);

CREATE TABLE invoices (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        uuid NOT NULL DEFAULT gen_random_uuid(),
  code      text NOT NULL COLLATE natural_order,
  contact_id uuid NOT NULL,
  state     invoice_state NOT NULL DEFAULT 'draft',
  periods   datemultirange NOT NULL DEFAULT '{}',
  total     positive_money,
  document  xml,
  PRIMARY KEY (tenant_id, id),
  UNIQUE NULLS NOT DISTINCT (tenant_id, code),
  FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id)
);
CREATE TABLE invoice_lines (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  invoice_id uuid NOT NULL,
  position  smallint NOT NULL,
  words     text NOT NULL,
  amount    positive_money,
  PRIMARY KEY (tenant_id, invoice_id, position),
  FOREIGN KEY (tenant_id, invoice_id) REFERENCES invoices ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX invoice_lines_words ON invoice_lines USING gin (to_tsvector('english', words));
CREATE STATISTICS invoice_lines_shape (dependencies) ON invoice_id, position FROM invoice_lines;

-- by month, as the application always did
CREATE TABLE visits (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        uuid NOT NULL DEFAULT gen_random_uuid(),
  at        timestamptz NOT NULL,
  contact_id uuid,
  page      text NOT NULL,
  place     point,
  facts     jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (tenant_id, id, at),
  FOREIGN KEY (tenant_id, contact_id) REFERENCES contacts (tenant_id, id) ON DELETE SET NULL (contact_id)
) PARTITION BY RANGE (at);
CREATE TABLE visits_2026_01 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE visits_2026_02 PARTITION OF visits FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE visits_rest PARTITION OF visits DEFAULT;
CREATE INDEX visits_facts ON visits USING gin (facts);
CREATE INDEX visits_at ON visits USING brin (at);

CREATE FUNCTION add_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE invoices i SET total = s.total
    FROM (SELECT l.invoice_id, sum(l.amount) AS total FROM invoice_lines l
           WHERE l.invoice_id IN (SELECT invoice_id FROM changed) GROUP BY 1) s
   WHERE i.id = s.invoice_id;
  RETURN NULL;
END $$;
CREATE TRIGGER invoice_lines_total AFTER INSERT ON invoice_lines REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION add_up();
CREATE FUNCTION has_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.state <> 'draft' AND NOT EXISTS (SELECT FROM invoice_lines WHERE invoice_id = NEW.id) THEN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'an invoice that is sent has lines', CONSTRAINT = 'invoices_have_lines';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER invoices_have_lines AFTER INSERT OR UPDATE ON invoices DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION has_lines();
CREATE VIEW receivables WITH (security_barrier) AS
  SELECT i.code, c.name, i.total, rank() OVER (ORDER BY i.total DESC) AS rank
    FROM invoices i JOIN contacts c ON c.id = i.contact_id WHERE i.state = 'sent';
CREATE FUNCTION receive_mail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO contacts (name, email) VALUES (NEW.name, NEW.email) ON CONFLICT DO NOTHING;
  RETURN NEW;
END $$;
CREATE VIEW mailbox AS SELECT name, email FROM contacts WHERE email IS NOT NULL;
CREATE TRIGGER mailbox_insert INSTEAD OF INSERT ON mailbox FOR EACH ROW EXECUTE FUNCTION receive_mail();
CREATE AGGREGATE product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1');
CREATE FUNCTION pay(which uuid) RETURNS invoice_state LANGUAGE plpgsql AS $$
DECLARE
  now_is invoice_state;
BEGIN
  SELECT state INTO now_is FROM invoices WHERE id = which FOR UPDATE;
  IF now_is IS DISTINCT FROM 'sent' THEN
    RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = 'only what was sent is paid';
  END IF;
  UPDATE invoices SET state = 'paid' WHERE id = which RETURNING state INTO now_is;
  RETURN now_is;
END $$;
COMMENT ON TABLE invoices IS 'What customers owe';
