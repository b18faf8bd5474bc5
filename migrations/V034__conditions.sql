-- Grants under a condition, and what conditions can ask for of things.

ALTER TABLE access.grants
    ADD COLUMN condition text,
    ADD COLUMN parameters jsonb,
    ADD CONSTRAINT grants_condition_check CHECK (octet_length(condition) BETWEEN 1 AND 4096),
    ADD CONSTRAINT grants_parameters_check CHECK (parameters IS NULL OR condition IS NOT NULL);

-- As the service says it and the resource type declares it; `{}` for a thing that is known by its place alone.
ALTER TABLE access.resources ADD COLUMN attributes jsonb NOT NULL DEFAULT '{}';
