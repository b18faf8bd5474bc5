-- Places whose rights are not what is recorded: nearly none of them, looked for after every change of any.
CREATE INDEX places_behind ON tenancy.places (tenant_id) WHERE rights <> rights_applied AND state = 'settled';
