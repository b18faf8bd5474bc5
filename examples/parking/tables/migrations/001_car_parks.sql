-- Car parks and what parking in them costs. Amounts are whole minor units of the location's currency.

CREATE TABLE currencies (
    code text NOT NULL,
    minor_digits integer NOT NULL,
    CONSTRAINT currencies_pkey PRIMARY KEY (code)
);
INSERT INTO currencies (code, minor_digits)
VALUES ('CHF', 2), ('EUR', 2), ('GBP', 2), ('JPY', 0), ('NOK', 2), ('SEK', 2), ('USD', 2);

CREATE TABLE locations (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL,
    code text NOT NULL,
    name text NOT NULL,
    time_zone text NOT NULL,
    currency text NOT NULL,
    capacity integer NOT NULL,
    -- Kept by the trigger of `entries`; with the check it is what stops the last free space from being given twice.
    inside integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    CONSTRAINT locations_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT locations_code_key UNIQUE (tenant_id, code),
    CONSTRAINT locations_currency_fkey FOREIGN KEY (currency) REFERENCES currencies (code),
    CONSTRAINT locations_code_check CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,49}$'),
    CONSTRAINT locations_name_check CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT locations_capacity_check CHECK (capacity BETWEEN 1 AND 100000),
    CONSTRAINT locations_has_room CHECK (inside BETWEEN 0 AND capacity)
);

-- The tariff of a location that holds from `valid_from` until the next one.
CREATE TABLE tariffs (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    id uuid NOT NULL,
    location_id uuid NOT NULL,
    valid_from timestamptz NOT NULL,
    grace_minutes integer NOT NULL,
    daily_max_minor bigint,
    CONSTRAINT tariffs_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT tariffs_from_key UNIQUE (tenant_id, location_id, valid_from),
    CONSTRAINT tariffs_location_fkey FOREIGN KEY (tenant_id, location_id)
        REFERENCES locations (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT tariffs_grace_check CHECK (grace_minutes BETWEEN 0 AND 1440),
    CONSTRAINT tariffs_daily_max_check CHECK (daily_max_minor BETWEEN 0 AND 1000000000)
);

-- From minute `from_minute` on, each started `every_minutes` cost `price_minor`.
CREATE TABLE tariff_steps (
    tenant_id uuid NOT NULL DEFAULT rh.stamped(),
    tariff_id uuid NOT NULL,
    from_minute integer NOT NULL,
    every_minutes integer NOT NULL,
    price_minor bigint NOT NULL,
    CONSTRAINT tariff_steps_pkey PRIMARY KEY (tenant_id, tariff_id, from_minute),
    CONSTRAINT tariff_steps_tariff_fkey FOREIGN KEY (tenant_id, tariff_id)
        REFERENCES tariffs (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT tariff_steps_minutes_check CHECK (from_minute BETWEEN 0 AND 1439 AND every_minutes BETWEEN 1 AND 1440),
    CONSTRAINT tariff_steps_price_check CHECK (price_minor BETWEEN 0 AND 1000000000)
);
