-- What an application may use at most of the permissions of the people who let it in, as it was registered; and what a session was
-- given of that, with what it is told of the person, apart by spaces.
ALTER TABLE identity.applications ADD COLUMN permissions text[] NOT NULL DEFAULT '{}';
ALTER TABLE identity.sessions ADD COLUMN scope text;
