-- What the operator declares, by API or by catalogue: one table for each kind of thing, `definition` being the
-- domain's own type. `catalog` names the catalogue that created the row, if one did.

CREATE SCHEMA routes;
GRANT USAGE ON SCHEMA routes TO rowhouse_app;
CREATE SCHEMA access;
GRANT USAGE ON SCHEMA access TO rowhouse_app;
CREATE SCHEMA tenancy;
GRANT USAGE ON SCHEMA tenancy TO rowhouse_app;
CREATE SCHEMA limits;
GRANT USAGE ON SCHEMA limits TO rowhouse_app;
CREATE SCHEMA metering;
GRANT USAGE ON SCHEMA metering TO rowhouse_app;
CREATE SCHEMA billing;
GRANT USAGE ON SCHEMA billing TO rowhouse_app;
GRANT USAGE ON SCHEMA metering TO rowhouse_sequencer;

CREATE TABLE routes.services (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT services_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON routes.services TO rowhouse_app;

CREATE TABLE routes.routes (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT routes_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON routes.routes TO rowhouse_app;

CREATE TABLE access.resource_types (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT resource_types_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.resource_types TO rowhouse_app;

CREATE TABLE access.roles (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT roles_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.roles TO rowhouse_app;

CREATE TABLE tenancy.tiers (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT tiers_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.tiers TO rowhouse_app;

CREATE TABLE limits.limits (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT limits_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON limits.limits TO rowhouse_app;

CREATE TABLE metering.meters (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT meters_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON metering.meters TO rowhouse_app;

CREATE TABLE billing.plans (
    name text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    catalog text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT plans_pkey PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON billing.plans TO rowhouse_app;
