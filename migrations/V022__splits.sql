-- Where a service's requests go when not all of them go to its own copies: which release is the default, and who gets
-- another one. `before` is what held before the last change, so that one call goes back. A service that is not
-- declared any more keeps its row without effect.
CREATE TABLE routes.splits (
    service text NOT NULL,
    traffic jsonb NOT NULL,
    before jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL,
    CONSTRAINT splits_pkey PRIMARY KEY (service)
);
GRANT SELECT, INSERT, UPDATE ON routes.splits TO rowhouse_app;
