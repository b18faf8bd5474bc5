-- Who may park for nothing, who is inside, and who has paid.

CREATE TABLE people (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL,
    name text NOT NULL,
    email text,
    created_at timestamptz NOT NULL,
    CONSTRAINT people_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT people_email_key UNIQUE (tenant_id, email),
    CONSTRAINT people_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT people_email_check CHECK (email ~ '^[^@[:space:]]+@[^@[:space:]]+$' AND char_length(email) <= 254)
);

CREATE TABLE vehicles (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    plate text NOT NULL,
    person_id uuid NOT NULL,
    CONSTRAINT vehicles_pkey PRIMARY KEY (tenant_id, plate),
    CONSTRAINT vehicles_person_fkey FOREIGN KEY (tenant_id, person_id)
        REFERENCES people (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX vehicles_by_person ON vehicles (tenant_id, person_id);

CREATE TYPE permit_kind AS ENUM ('resident', 'employee', 'season');

CREATE TABLE permits (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL,
    person_id uuid NOT NULL,
    location_id uuid NOT NULL,
    kind permit_kind NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL,
    CONSTRAINT permits_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT permits_person_fkey FOREIGN KEY (tenant_id, person_id)
        REFERENCES people (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT permits_location_fkey FOREIGN KEY (tenant_id, location_id)
        REFERENCES locations (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT permits_span_check CHECK (valid_until > valid_from)
);
CREATE INDEX permits_by_person ON permits (tenant_id, person_id, location_id, valid_until);

CREATE TABLE entries (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL,
    location_id uuid NOT NULL,
    plate text NOT NULL,
    permit_id uuid,
    -- What the gate calls it: a gate that hears no answer says it again.
    gate_event text,
    entered_at timestamptz NOT NULL,
    exited_at timestamptz,
    created_by text NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT entries_gate_event_key UNIQUE (tenant_id, location_id, gate_event),
    CONSTRAINT entries_location_fkey FOREIGN KEY (tenant_id, location_id) REFERENCES locations (tenant_id, id),
    CONSTRAINT entries_permit_fkey FOREIGN KEY (tenant_id, permit_id) REFERENCES permits (tenant_id, id),
    CONSTRAINT entries_span_check CHECK (exited_at >= entered_at)
);
CREATE UNIQUE INDEX entries_inside_key ON entries (tenant_id, location_id, plate) WHERE exited_at IS NULL;
CREATE INDEX entries_by_time ON entries (tenant_id, location_id, entered_at DESC);

CREATE TYPE payment_method AS ENUM ('cash', 'card', 'app', 'invoice');

CREATE TABLE payments (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL,
    entry_id uuid NOT NULL,
    amount_minor bigint NOT NULL,
    method payment_method NOT NULL,
    -- What the terminal calls it; twice is once.
    reference text NOT NULL,
    paid_at timestamptz NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT payments_reference_key UNIQUE (tenant_id, reference),
    CONSTRAINT payments_entry_fkey FOREIGN KEY (tenant_id, entry_id) REFERENCES entries (tenant_id, id),
    CONSTRAINT payments_amount_check CHECK (amount_minor BETWEEN 1 AND 1000000000)
);
CREATE INDEX payments_by_entry ON payments (tenant_id, entry_id);
CREATE INDEX payments_by_time ON payments (tenant_id, paid_at);

-- A trigger runs as whoever changed the row: in a tenant's transaction it sees that tenant's rows only.
CREATE FUNCTION count_inside() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.exited_at IS NULL THEN
        UPDATE locations SET inside = inside + 1 WHERE tenant_id = NEW.tenant_id AND id = NEW.location_id;
    ELSIF TG_OP = 'UPDATE' AND OLD.exited_at IS NULL AND NEW.exited_at IS NOT NULL THEN
        UPDATE locations SET inside = inside - 1 WHERE tenant_id = NEW.tenant_id AND id = NEW.location_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entries_count_inside AFTER INSERT OR UPDATE OF exited_at ON entries
    FOR EACH ROW EXECUTE FUNCTION count_inside();

-- Takings of each local day.
CREATE VIEW daily_takings AS
SELECT l.id AS location_id, l.currency, (p.paid_at AT TIME ZONE l.time_zone)::date AS day,
       count(*) AS payments, sum(p.amount_minor)::bigint AS amount_minor
  FROM payments p
  JOIN entries e ON e.tenant_id = p.tenant_id AND e.id = p.entry_id
  JOIN locations l ON l.tenant_id = e.tenant_id AND l.id = e.location_id
 GROUP BY l.id, l.currency, day;
