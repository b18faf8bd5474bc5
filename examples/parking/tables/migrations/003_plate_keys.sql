-- Cameras write `b ab 123`, people `B-AB 123`: one key for all spellings. New entries bring it with them; those of
-- before get it with the next migration.
ALTER TABLE entries ADD COLUMN plate_key text;
ALTER TABLE vehicles ADD COLUMN plate_key text;
