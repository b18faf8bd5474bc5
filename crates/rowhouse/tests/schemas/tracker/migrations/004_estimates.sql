ALTER TABLE issues ADD COLUMN estimate_minutes integer CHECK (estimate_minutes >= 0);
ALTER TYPE issue_state ADD VALUE 'in_review' BEFORE 'closed';
CREATE VIEW estimates AS SELECT project_id, sum(estimate_minutes) AS minutes FROM issues GROUP BY project_id;
