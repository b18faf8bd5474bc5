-- On the level `shared` this runs once for all tenants, above it once for each.
UPDATE entries SET plate_key = upper(regexp_replace(plate, '[^[:alnum:]]', '', 'g')) WHERE plate_key IS NULL;
UPDATE vehicles SET plate_key = upper(regexp_replace(plate, '[^[:alnum:]]', '', 'g')) WHERE plate_key IS NULL;

ALTER TABLE entries ALTER COLUMN plate_key SET NOT NULL;
ALTER TABLE vehicles ALTER COLUMN plate_key SET NOT NULL;

DROP INDEX entries_inside_key;
CREATE UNIQUE INDEX entries_inside_key ON entries (tenant_id, location_id, plate_key) WHERE exited_at IS NULL;
CREATE UNIQUE INDEX vehicles_plate_key ON vehicles (tenant_id, plate_key);
