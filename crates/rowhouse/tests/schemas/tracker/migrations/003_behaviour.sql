-- The number of an issue is the next of its project.
CREATE FUNCTION next_number(project uuid) RETURNS integer LANGUAGE sql AS $$
    UPDATE projects SET last_number = last_number + 1 WHERE id = project RETURNING last_number
$$;

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER issues_touch BEFORE UPDATE ON issues FOR EACH ROW EXECUTE FUNCTION touch();

CREATE FUNCTION note_activity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO activity (issue_id, was, became)
    VALUES (NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state);
    RETURN NULL;
END $$;
CREATE TRIGGER issues_activity AFTER INSERT OR UPDATE OF state ON issues
    FOR EACH ROW EXECUTE FUNCTION note_activity();

-- An issue and all below it.
CREATE FUNCTION subtree(root uuid) RETURNS TABLE (id uuid, depth integer) STABLE LANGUAGE sql AS $$
    WITH RECURSIVE tree AS (
        SELECT i.id, 0 AS depth FROM issues i WHERE i.id = root
        UNION ALL
        SELECT i.id, tree.depth + 1 FROM issues i JOIN tree ON i.parent_id = tree.id
    ) SELECT tree.id, tree.depth FROM tree
$$;

CREATE VIEW board AS
SELECT p.key || '-' || i.number AS reference, i.id, i.title, i.state, i.priority, w.weight,
       who.display_name AS assignee,
       (SELECT array_agg(l.name ORDER BY l.name) FROM issue_labels il JOIN labels l ON l.id = il.label_id
         WHERE il.issue_id = i.id) AS labels,
       (SELECT count(*) FROM comments c WHERE c.issue_id = i.id) AS comments
  FROM issues i
  JOIN projects p ON p.id = i.project_id
  JOIN priorities w ON w.name = i.priority
  LEFT JOIN people who ON who.id = i.assignee_id
 WHERE NOT i.is_closed AND p.archived_at IS NULL;

CREATE VIEW workload AS
SELECT assignee, count(*) AS issues, sum(weight) AS weight FROM board GROUP BY assignee;

CREATE MATERIALIZED VIEW nightly_totals AS SELECT state, count(*) AS issues FROM issues GROUP BY state;
