-- The schema rh of a tenants' database: keys, places, the verifier of the signed context, the record of what is
-- installed. Repeatable. Everything in it belongs to rh_guard; tenants may call three functions and read nothing.
GRANT USAGE ON LANGUAGE plpgsql, sql TO rh_guard, rh_owner;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(bigint) TO rh_guard;

CREATE SCHEMA IF NOT EXISTS rh AUTHORIZATION rh_guard;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
SET LOCAL ROLE rh_guard;
GRANT USAGE ON SCHEMA rh TO PUBLIC;

-- The two padded blocks of RFC 2104, so that sha256() alone makes the HMAC.
CREATE TABLE IF NOT EXISTS rh.key (
  kid     text PRIMARY KEY,
  ipad    bytea NOT NULL CHECK (length(ipad) = 64),
  opad    bytea NOT NULL CHECK (length(opad) = 64),
  made_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS rh.place (
  tenant uuid PRIMARY KEY,
  login  text NOT NULL,
  epoch  bigint NOT NULL CHECK (epoch >= 1),
  rights text NOT NULL CHECK (rights IN ('rwd', 'rd', 'r', ''))
);
-- Schemas of services, for the doctor and for dropping.
CREATE TABLE IF NOT EXISTS rh.installed (
  schema    text PRIMARY KEY,
  service   text NOT NULL,
  isolation text NOT NULL,
  login     text NOT NULL,
  tenant    uuid
);
CREATE TABLE IF NOT EXISTS rh.relation (
  schema text NOT NULL REFERENCES rh.installed ON DELETE CASCADE,
  name   text NOT NULL,
  kind   text NOT NULL CHECK (kind IN ('tenant', 'reference', 'internal')),
  PRIMARY KEY (schema, name)
);
-- Number 0 is the generator: its checksum covers the manifest.
CREATE TABLE IF NOT EXISTS rh.version (
  schema     text NOT NULL REFERENCES rh.installed ON DELETE CASCADE,
  number     int NOT NULL,
  name       text NOT NULL,
  checksum   text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (schema, number)
);
-- What the schema is with that version, for finding what was changed by hand.
-- Asked first, because ALTER TABLE locks the table also where it changes nothing.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'rh.version'::regclass AND attname = 'fingerprint') THEN
    ALTER TABLE rh.version ADD COLUMN fingerprint text;
  END IF;
END $$;
-- What is written among the rows of a tenant that leaves the shared tables, so that their erasure can be proven.
CREATE TABLE IF NOT EXISTS rh.marker (tenant uuid NOT NULL, marker text NOT NULL, PRIMARY KEY (tenant, marker));
REVOKE ALL ON ALL TABLES IN SCHEMA rh FROM PUBLIC;

-- Who is asking? One PL/pgSQL function on all versions: a BEGIN ATOMIC body costs six times as much on 15. The
-- signature is checked before anything is parsed, so casts only ever see what we wrote. Rows change only where the tenant
-- lies when the statement begins, and the statement must see that: who has a context without having entered, or entered
-- before a move, changes nothing where the tenant lay once.
CREATE OR REPLACE FUNCTION rh.tenant(need text) RETURNS uuid STABLE PARALLEL SAFE SECURITY DEFINER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  token text := current_setting('rh.ctx', true);
  p     text[];
BEGIN
  IF EXISTS (SELECT FROM rh.key k WHERE k.kid = split_part(token, '.', 2)
      AND right(token, 64) = encode(sha256(k.opad || sha256(k.ipad || convert_to(left(token, -65), 'UTF8'))), 'hex')) THEN
    p := string_to_array(token, '.');
    IF p[1] = 'r1' AND p[6]::int = pg_backend_pid() AND p[7]::bigint >= extract(epoch FROM transaction_timestamp()) THEN
      IF strpos(p[5], need) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'RH003', MESSAGE = 'this tenant may not do that now';
      END IF;
      IF need <> 'r' AND (current_setting('transaction_isolation') <> 'read committed' OR NOT EXISTS (
          SELECT FROM rh.place k WHERE k.tenant = p[3]::uuid AND k.login = session_user AND k.epoch = p[4]::bigint)) THEN
        RAISE EXCEPTION USING ERRCODE = 'RH002', MESSAGE = 'the tenant does not lie here, or this transaction cannot see it';
      END IF;
      RETURN p[3]::uuid;
    END IF;
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'RH001', MESSAGE = 'no valid tenant context';
END $$;

-- First statement of every transaction, on every level. The context must be for this login's place, as it is now;
-- else the caller is told to look again where the tenant lies. Answers the server's time, in seconds, from which the next
-- token's end is reckoned. The shared advisory lock of a writer is what a move waits for. The transaction must be READ
-- COMMITTED: with any other snapshot than the statement's own, the place would be looked up as it was when the transaction
-- began, which may be before a move.
CREATE OR REPLACE FUNCTION rh.enter(token text, writes boolean) RETURNS double precision VOLATILE SECURITY DEFINER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  t uuid;
  p text[] := string_to_array(token, '.');
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING ERRCODE = 'RH004', MESSAGE = 'a tenant''s transaction is READ COMMITTED';
  END IF;
  PERFORM set_config('rh.ctx', token, true);
  t := rh.tenant('r');
  IF writes THEN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(t::text, 7240));
  END IF;
  IF NOT EXISTS (SELECT FROM rh.place k
                  WHERE k.tenant = t AND k.login = session_user AND k.epoch = p[4]::bigint AND translate(p[5], k.rights, '') = '') THEN
    RAISE EXCEPTION USING ERRCODE = 'RH002', MESSAGE = 'the tenant''s place has changed';
  END IF;
  RETURN extract(epoch FROM clock_timestamp());
END $$;

-- Default of tenant_id: only cuts the tenant out of the context, once a row; policy or CHECK verifies it anyway.
CREATE OR REPLACE FUNCTION rh.stamped() RETURNS uuid STABLE PARALLEL SAFE
LANGUAGE sql AS $$ SELECT nullif(split_part(current_setting('rh.ctx', true), '.', 3), '')::uuid $$;

CREATE OR REPLACE FUNCTION rh.no_ddl() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF session_user = 'rh_app' OR session_user ~ '^(t_[0-9a-f]{16}|rh_mover_[0-9]+)$' THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = format('rowhouse: %s is not allowed for tenants', tg_tag);
  END IF;
END $$;
RESET ROLE;

REVOKE USAGE ON LANGUAGE plpgsql, sql FROM PUBLIC;      -- no DO
DROP EVENT TRIGGER IF EXISTS rh_no_ddl;
CREATE EVENT TRIGGER rh_no_ddl ON ddl_command_start EXECUTE FUNCTION rh.no_ddl();
