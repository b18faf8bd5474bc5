//! The statements: all that an application does to two tables, from a seed. What depends on the order in which a server happens to
//! visit rows is left out: it may differ between any two servers.

use super::Dice;
use super::pair::Ended;

/// Ids are small, so that tenants use the same ones.
pub const SCHEMA: &str = "
CREATE TABLE items (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        bigint NOT NULL,
  name      text NOT NULL,
  qty       bigint NOT NULL DEFAULT 0 CONSTRAINT items_qty CHECK (qty > -1000),
  price     numeric(12, 2),
  tag       text,
  CONSTRAINT items_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT items_name UNIQUE (tenant_id, name)
);
CREATE INDEX items_tag ON items (tenant_id, tag);
CREATE TABLE lines (
  tenant_id uuid NOT NULL DEFAULT rh.stamped(),
  id        bigint NOT NULL,
  item      bigint NOT NULL,
  amount    bigint,
  note      text,
  CONSTRAINT lines_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT lines_item FOREIGN KEY (tenant_id, item) REFERENCES items (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX lines_by_item ON lines (tenant_id, item);
CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO countries VALUES ('NL', 'Netherlands'), ('DE', 'Germany'), ('JP', 'Japan');
";

const IDS: u64 = 60;
const TAGS: [&str; 4] = ["'red'", "'blue'", "'green'", "NULL"];

/// Where a transaction stands.
pub struct Grammar {
    dice: Dice,
    tenant: u128,
    /// Statements of this transaction.
    length: u64,
    savepoints: u32,
    failed: bool,
    last: String,
    fresh: u64,
}

impl Grammar {
    pub fn new(dice: Dice, tenant: u128) -> Self {
        Grammar { dice, tenant, length: 0, savepoints: 0, failed: false, last: String::new(), fresh: 0 }
    }

    /// How the last statement ended.
    pub fn told(&mut self, ended: Ended) {
        self.failed |= ended == Ended::Badly;
        let last = std::mem::take(&mut self.last);
        match last.split(' ').next() {
            Some("COMMIT") => (self.length, self.savepoints, self.failed) = (0, 0, false),
            Some("ROLLBACK") if !last.contains(" TO ") => {
                (self.length, self.savepoints, self.failed) = (0, 0, false);
            }
            Some("ROLLBACK") if ended == Ended::Well => self.failed = false,
            Some("SAVEPOINT") if ended == Ended::Well => self.savepoints += 1,
            Some("RELEASE") if ended == Ended::Well => self.savepoints -= 1,
            _ => self.length += 1,
        }
    }

    pub fn next(&mut self) -> String {
        self.last = self.choose();
        self.last.clone()
    }

    fn choose(&mut self) -> String {
        let last = self.savepoints;
        if self.failed {
            return match self.dice.roll(4) {
                0 => "SELECT count(*) FROM items".to_owned(),
                1 | 2 if last > 0 => format!("ROLLBACK TO SAVEPOINT s{last}"),
                _ => "ROLLBACK".to_owned(),
            };
        }
        if self.length > 4 + self.dice.roll(12) {
            return if self.dice.one_in(6) { "ROLLBACK" } else { "COMMIT" }.to_owned();
        }
        match self.dice.roll(34) {
            0..=5 => self.insert_items(),
            6..=8 => self.insert_lines(),
            9..=11 => self.upsert(),
            12..=14 => self.update(),
            15 | 16 => self.delete(),
            17 => self.merge(),
            18 => self.modifying_with(),
            19 if last < 3 => format!("SAVEPOINT s{}", last + 1),
            20 if last > 0 => format!("RELEASE SAVEPOINT s{last}"),
            21 if last > 0 => format!("ROLLBACK TO SAVEPOINT s{last}"),
            22 => self.wrong(),
            23 | 24 => self.grouped(),
            25 | 26 => self.windowed(),
            27 => self.combined(),
            28 => self.recursive(),
            29 => self.locked(),
            _ => self.select(),
        }
    }

    fn id(&mut self) -> u64 {
        self.dice.roll(IDS)
    }

    /// Each tenant's texts are its own: another's would be seen.
    fn name(&mut self) -> String {
        if self.dice.one_in(5) {
            self.fresh += 1;
            return format!("'t{}-fresh-{}'", self.tenant, self.fresh);
        }
        format!("'t{}-{}'", self.tenant, self.dice.roll(IDS * 2))
    }

    fn row(&mut self) -> String {
        let (id, name, qty) = (self.id(), self.name(), self.dice.roll(200) as i64 - 50);
        let price = if self.dice.one_in(4) {
            "NULL".to_owned()
        } else {
            format!("{}.{:02}", self.dice.roll(900), self.dice.roll(100))
        };
        format!("({id}, {name}, {qty}, {price}, {})", self.dice.pick(&TAGS))
    }

    fn rows(&mut self, most: u64) -> String {
        let count = 1 + self.dice.roll(most);
        (0..count).map(|_| self.row()).collect::<Vec<_>>().join(", ")
    }

    fn returning(&mut self) -> &'static str {
        self.dice.pick(&[
            "",
            "",
            " RETURNING id, name",
            " RETURNING *",
            " RETURNING qty * 2, coalesce(tag, 'none')",
        ])
    }

    fn insert_items(&mut self) -> String {
        if self.dice.one_in(8) {
            let (from, to) = (self.id(), 100 + self.dice.roll(400));
            return format!(
                "INSERT INTO items (id, name, qty, tag) SELECT id + {to}, name || ' copy {to}', qty, tag FROM items WHERE id = {from}{}",
                self.returning()
            );
        }
        let ignore = if self.dice.one_in(3) { " ON CONFLICT DO NOTHING" } else { "" };
        let rows = if ignore.is_empty() { self.rows(2) } else { self.rows(5) };
        format!("INSERT INTO items (id, name, qty, price, tag) VALUES {rows}{ignore}{}", self.returning())
    }

    fn insert_lines(&mut self) -> String {
        let (id, amount) = (self.dice.roll(IDS * 4), self.dice.roll(50));
        let note = format!("'note of {} for {id}'", self.tenant);
        if self.dice.one_in(2) {
            let most = 1 + self.dice.roll(4);
            return format!(
                "INSERT INTO lines (id, item, amount, note) SELECT {id} + rank() OVER (ORDER BY id), id, {amount}, {note} FROM (SELECT id FROM items ORDER BY id LIMIT {most}) AS first ON CONFLICT DO NOTHING RETURNING id, item"
            );
        }
        format!("INSERT INTO lines (id, item, amount, note) VALUES ({id}, {}, {amount}, {note})", self.id())
    }

    fn upsert(&mut self) -> String {
        let row = self.row();
        let set = self.dice.pick(&[
            "qty = items.qty + excluded.qty",
            "qty = excluded.qty, tag = coalesce(excluded.tag, items.tag)",
            "price = greatest(items.price, excluded.price)",
        ]);
        let only = self.dice.pick(&["", "", " WHERE items.qty < 20", " WHERE excluded.qty > items.qty"]);
        format!(
            "INSERT INTO items (id, name, qty, price, tag) VALUES {row} ON CONFLICT (tenant_id, id) DO UPDATE SET {set}{only}{}",
            self.returning()
        )
    }

    fn update(&mut self) -> String {
        let set = self.dice.pick(&[
            "qty = qty + 7",
            "qty = qty - 40",
            "tag = upper(tag)",
            "price = round(price * 1.1, 2)",
            "tag = CASE WHEN qty > 10 THEN 'many' ELSE 'few' END",
            "qty = (SELECT count(*) FROM lines l WHERE l.item = items.id)",
            "qty = (SELECT coalesce(sum(amount), 0) FROM lines)",
        ]);
        match self.dice.roll(5) {
            0 => format!(
                "UPDATE items SET name = {} WHERE id = {}{}",
                self.name(),
                self.id(),
                self.returning()
            ),
            1 => format!(
                "UPDATE items i SET qty = i.qty + l.total FROM (SELECT item, sum(amount) AS total FROM lines GROUP BY item) l WHERE l.item = i.id AND {} RETURNING i.id, i.qty",
                self.condition("i")
            ),
            2 => format!(
                "UPDATE lines SET amount = amount + 1, note = note || '!' WHERE item IN (SELECT id FROM items WHERE {}) AND length(note) < 60",
                self.condition("items")
            ),
            _ => format!("UPDATE items SET {set} WHERE {}{}", self.condition("items"), self.returning()),
        }
    }

    fn delete(&mut self) -> String {
        match self.dice.roll(4) {
            0 => format!(
                "DELETE FROM lines WHERE id > {} AND amount IS NOT NULL RETURNING *",
                self.dice.roll(IDS * 4)
            ),
            1 => format!(
                "DELETE FROM lines USING items i WHERE lines.item = i.id AND i.id = {} RETURNING lines.id",
                self.id()
            ),
            2 => format!(
                "DELETE FROM items WHERE id IN ({}, {}, {}){}",
                self.id(),
                self.id(),
                100 + self.dice.roll(400),
                self.returning()
            ),
            _ => format!(
                "DELETE FROM items WHERE {} AND qty % 5 = {}",
                self.condition("items"),
                self.dice.roll(5)
            ),
        }
    }

    fn merge(&mut self) -> String {
        let (one, other) = (self.id(), self.id() + IDS);
        let (first, second) = (self.name(), self.name());
        format!(
            "MERGE INTO items USING (VALUES ({one}, {first}), ({other}, {second})) AS new (id, name) ON items.id = new.id WHEN MATCHED AND items.qty > 100 THEN DELETE WHEN MATCHED THEN UPDATE SET qty = items.qty + 1 WHEN NOT MATCHED THEN INSERT (id, name, qty) VALUES (new.id, new.name || ' merged', 1)"
        )
    }

    fn modifying_with(&mut self) -> String {
        let id = self.id();
        match self.dice.roll(3) {
            0 => format!(
                "WITH gone AS (DELETE FROM lines WHERE item = {id} RETURNING amount) SELECT count(*), sum(amount) FROM gone"
            ),
            1 => format!(
                "WITH changed AS (UPDATE items SET qty = qty + 1 WHERE id = {id} RETURNING id, qty) SELECT c.id, c.qty, i.qty FROM changed c JOIN items i USING (id)"
            ),
            _ => format!(
                "WITH made AS (INSERT INTO items (id, name) VALUES ({}, {}) ON CONFLICT DO NOTHING RETURNING id) INSERT INTO lines (id, item, amount) SELECT {}, id, 1 FROM made ON CONFLICT DO NOTHING RETURNING item",
                self.id() + IDS,
                self.name(),
                self.dice.roll(IDS * 4)
            ),
        }
    }

    /// Statements that fail, each in one way.
    fn wrong(&mut self) -> String {
        match self.dice.roll(9) {
            0 => format!("INSERT INTO lines (id, item) VALUES ({}, 999999)", 5_000 + self.dice.roll(1_000)),
            1 => format!("INSERT INTO items (id, name) VALUES ({}, NULL)", self.id()),
            2 => "INSERT INTO items (id, name, qty) VALUES (7777, 'low', -5000)".to_owned(),
            3 => "SELECT 1 / (qty - qty) FROM items".to_owned(),
            4 => "SELECT (CASE WHEN id >= 0 THEN 'no number' ELSE '1' END)::bigint FROM items".to_owned(),
            5 => "SELECT missing FROM items".to_owned(),
            6 => "SELECT (SELECT id FROM items WHERE id < 60) AS more_than_one".to_owned(),
            7 => "INSERT INTO items (id, name, price) VALUES (7778, 'dear', 99999999999.00)".to_owned(),
            _ => "UPDATE lines SET item = 999999".to_owned(),
        }
    }

    fn condition(&mut self, table: &str) -> String {
        let id = self.id();
        let one = match self.dice.roll(13) {
            0 => format!("{table}.id = {id}"),
            1 => format!("{table}.id < {id}"),
            2 => format!("{table}.id BETWEEN {id} AND {}", id + 15),
            3 => format!("{table}.tag = 'red'"),
            4 => format!("{table}.tag IS NULL"),
            5 => format!("{table}.name LIKE 't%{}'", id % 10),
            6 => format!("{table}.qty > {id}"),
            7 => format!("{table}.price IS DISTINCT FROM {id}.50"),
            8 => format!("EXISTS (SELECT FROM lines x WHERE x.item = {table}.id)"),
            9 => format!("{table}.id NOT IN (SELECT x.item FROM lines x WHERE x.amount > {})", id % 40),
            10 => format!("{table}.qty >= (SELECT avg(y.qty) FROM items y)"),
            11 => format!("lower({table}.name) ~ '[0-4]$'"),
            _ => format!("{table}.tag = ANY (ARRAY['blue', 'green', 'many'])"),
        };
        match self.dice.roll(5) {
            0 => format!("({one} OR {})", self.condition(table)),
            1 => format!("({one} AND NOT ({}))", self.condition(table)),
            _ => one,
        }
    }

    fn select(&mut self) -> String {
        let condition = self.condition("i");
        match self.dice.roll(7) {
            0 => format!(
                "SELECT i.* FROM items i WHERE {condition} ORDER BY i.id LIMIT {} /* in order */",
                1 + self.dice.roll(10)
            ),
            1 => format!(
                "SELECT i.name, l.id, l.note FROM items i LEFT JOIN lines l ON l.item = i.id WHERE {condition}"
            ),
            2 => format!(
                "SELECT i.id, l.id, l.amount FROM items i FULL JOIN lines l ON l.item = i.id AND {condition}"
            ),
            3 => format!(
                "SELECT i.id, x.n FROM items i CROSS JOIN LATERAL (SELECT count(*) AS n FROM lines l WHERE l.item = i.id) x WHERE {condition}"
            ),
            4 => format!(
                "SELECT a.id, b.id FROM items a JOIN items b ON a.qty = b.qty AND a.id < b.id WHERE {}",
                self.condition("a")
            ),
            5 => format!(
                "SELECT i.id, c.name FROM items i CROSS JOIN countries c WHERE {condition} AND c.code = 'NL'"
            ),
            _ => format!(
                "SELECT i.id, i.name, i.qty, i.tenant_id, (SELECT max(l.amount) FROM lines l WHERE l.item = i.id) FROM items i WHERE {condition}"
            ),
        }
    }

    fn grouped(&mut self) -> String {
        let condition = self.condition("i");
        match self.dice.roll(5) {
            0 => format!(
                "SELECT tag, count(*), sum(qty), min(price), max(name) FROM items i WHERE {condition} GROUP BY tag"
            ),
            1 => format!(
                "SELECT count(*), count(tag), count(DISTINCT qty), sum(price), string_agg(name, ',' ORDER BY id) FROM items i WHERE {condition}"
            ),
            2 => format!(
                "SELECT i.tag, sum(l.amount) FROM items i JOIN lines l ON l.item = i.id WHERE {condition} GROUP BY i.tag HAVING count(*) > 1"
            ),
            3 => format!(
                "SELECT tag, qty > 10, count(*) FROM items i WHERE {condition} GROUP BY ROLLUP (tag, qty > 10)"
            ),
            _ => format!(
                "SELECT count(*) FILTER (WHERE tag = 'red'), bool_or(qty > 50), array_agg(id ORDER BY id) FROM items i WHERE {condition}"
            ),
        }
    }

    fn windowed(&mut self) -> String {
        let condition = self.condition("i");
        match self.dice.roll(3) {
            0 => format!(
                "SELECT id, row_number() OVER (ORDER BY qty, id), sum(qty) OVER (ORDER BY id) FROM items i WHERE {condition}"
            ),
            1 => format!(
                "SELECT id, tag, rank() OVER (PARTITION BY tag ORDER BY qty DESC), lag(name) OVER (PARTITION BY tag ORDER BY id) FROM items i WHERE {condition}"
            ),
            _ => format!(
                "SELECT l.id, avg(l.amount) OVER (PARTITION BY l.item), i.name FROM lines l JOIN items i ON i.id = l.item WHERE {condition} ORDER BY l.id /* in order */"
            ),
        }
    }

    fn combined(&mut self) -> String {
        let (one, other) = (self.condition("items"), self.condition("items"));
        let how = self.dice.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
        format!("SELECT id, tag FROM items WHERE {one} {how} SELECT id, tag FROM items WHERE {other}")
    }

    fn recursive(&mut self) -> String {
        let from = self.id();
        format!(
            "WITH RECURSIVE walk (id, steps) AS (SELECT min(id), 1 FROM items WHERE id >= {from} UNION ALL SELECT (SELECT min(i.id) FROM items i WHERE i.id > walk.id), steps + 1 FROM walk WHERE walk.id IS NOT NULL AND steps < 8) SELECT * FROM walk"
        )
    }

    fn locked(&mut self) -> String {
        let how = self.dice.pick(&[
            "FOR UPDATE",
            "FOR SHARE",
            "FOR NO KEY UPDATE",
            "FOR UPDATE SKIP LOCKED",
            "FOR KEY SHARE NOWAIT",
        ]);
        format!("SELECT id, qty FROM items WHERE {} {how}", self.condition("items"))
    }
}
