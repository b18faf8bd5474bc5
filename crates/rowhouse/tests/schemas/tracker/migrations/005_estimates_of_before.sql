UPDATE issues i SET estimate_minutes = p.weight * 10 FROM priorities p WHERE p.name = i.priority AND estimate_minutes IS NULL;
ALTER TABLE issues ALTER COLUMN estimate_minutes SET NOT NULL, ALTER COLUMN estimate_minutes SET DEFAULT 60;
