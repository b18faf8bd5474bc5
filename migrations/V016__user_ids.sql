-- User ids of tenants' own servers and processes go round: one that was given back is given out again as late as possible.
CREATE SEQUENCE deploy.user_ids MINVALUE 0;
GRANT USAGE ON SEQUENCE deploy.user_ids TO rowhouse_app;
