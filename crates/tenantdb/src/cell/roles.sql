-- Roles of a cluster, and what PUBLIC loses in it. Repeatable; repairs attributes that were changed by hand.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['rh_owner', 'rh_guard', 'rh_app', 'rh_migrator', 'rh_mover', 'rh_password'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I', name);
    END IF;
    EXECUTE format('ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION NOINHERIT', name);
    EXECUTE format('ALTER ROLE %I RESET ALL', name);
  END LOOP;
END $$;

ALTER ROLE rh_owner NOLOGIN;                            -- group of the services' owners, see `tables/owner.rs`; owns nothing
ALTER ROLE rh_guard NOLOGIN;                            -- owns schema rh: keys, places, the verifier
ALTER ROLE rh_password NOLOGIN;                         -- logins of restored copies are its members: the server asks them for a password
ALTER ROLE rh_app LOGIN;                                -- owns nothing, is a member of nothing
ALTER ROLE rh_migrator LOGIN;
-- Group of the logins that read and write services' tables for moves, backups, exports, erasures, one for each service: see `movers.rs`.
ALTER ROLE rh_mover NOLOGIN;
GRANT SET ON PARAMETER session_replication_role TO rh_mover;

-- Owners of services' tables, made when one is first installed.
DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT rolname FROM pg_roles WHERE rolname ~ '^rh_s_[0-9a-f]{16}$' LOOP
    EXECUTE format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION', name);
    EXECUTE format('ALTER ROLE %I RESET ALL', name);
  END LOOP;
  -- What the group may, each mover may: it is a member of nothing.
  FOR name IN SELECT o.rolname FROM pg_auth_members a JOIN pg_roles o ON o.oid = a.roleid WHERE a.member = 'rh_mover'::regrole LOOP
    EXECUTE format('REVOKE %I FROM rh_mover', name);
  END LOOP;
  FOR name IN SELECT rolname FROM pg_roles WHERE rolname ~ '^rh_mover_[0-9]+$' LOOP
    EXECUTE format('ALTER ROLE %I LOGIN INHERIT BYPASSRLS NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name);
    EXECUTE format('ALTER ROLE %I RESET ALL', name);
  END LOOP;
END $$;

-- One tenants' login cannot take all connections of the server: others and the control plane keep three in ten.
DO $$
BEGIN
  EXECUTE format('ALTER ROLE rh_app CONNECTION LIMIT %s', current_setting('max_connections')::int * 7 / 10);
END $$;

-- Every new database grants CONNECT and TEMP to PUBLIC; template0 takes no connections anyway.
DO $$
DECLARE
  name name;
BEGIN
  FOR name IN SELECT datname FROM pg_database
               WHERE datallowconn AND (has_database_privilege('public', oid, 'connect') OR has_database_privilege('public', oid, 'temp'))
  LOOP
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', name);
  END LOOP;
END $$;
