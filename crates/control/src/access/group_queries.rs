//! Rows of groups and of who is in them.

use jiff::Timestamp;
use rowhouse_domain::access::{Holder, Interval, Membership};
use rowhouse_domain::id::{GroupId, TenantId};
use rowhouse_store::{StoreError, Transaction};
use tokio_postgres::Row;
use uuid::Uuid;

use super::queries::{bound, holder_id, holder_kind, stored_holder};

/// A group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GroupRow {
    pub id: GroupId,
    pub tenant: TenantId,
    pub name: String,
    pub title: String,
    pub created_by: String,
    pub created_at: Timestamp,
}

/// That someone is in a group, with who put him there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MemberRow {
    pub membership: Membership,
    pub added_by: String,
    pub added_at: Timestamp,
}

const STORED: StoreError = StoreError::Stored { what: "a member of a group" };

fn group(row: &Row) -> GroupRow {
    GroupRow {
        id: GroupId(row.get(0)),
        tenant: TenantId(row.get(1)),
        name: row.get(2),
        title: row.get(3),
        created_by: row.get(4),
        created_at: row.get(5),
    }
}

fn membership(row: &Row, from: usize) -> Result<Membership, StoreError> {
    let micros = |at: usize| row.get::<_, Option<Timestamp>>(at).map(|time| time.as_microsecond());
    Ok(Membership {
        group: row.get(from),
        member: stored_holder(row.get(from + 1), row.get(from + 2)).ok_or(STORED)?,
        interval: Interval::new(micros(from + 3), micros(from + 4)),
    })
}

/// Who is in which group, in one tenant or in all.
pub(super) async fn load_memberships(
    transaction: &Transaction,
    tenant: Option<TenantId>,
) -> Result<Vec<(TenantId, Membership)>, StoreError> {
    let rows = transaction
        .query(
            "SELECT tenant_id, group_id, member_kind, member_id, valid_from, valid_until \
             FROM access.group_members WHERE $1::uuid IS NULL OR tenant_id = $1",
            &[&tenant.map(|tenant| tenant.0)],
        )
        .await?;
    rows.iter().map(|row| Ok((TenantId(row.get(0)), membership(row, 1)?))).collect()
}

/// At most `limit` groups after `after`, in the order of their ids; with `member`, those that it is in itself.
pub(super) async fn list(
    transaction: &Transaction,
    (tenant, after): (Option<TenantId>, Option<GroupId>),
    member: Option<Uuid>,
    limit: i64,
) -> Result<Vec<GroupRow>, StoreError> {
    let rows = transaction
        .query(
            "SELECT group_id, tenant_id, name, title, created_by, created_at FROM access.groups g \
             WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR group_id > $2) \
             AND ($4::uuid IS NULL OR EXISTS (SELECT FROM access.group_members m \
                 WHERE m.tenant_id = g.tenant_id AND m.group_id = g.group_id AND m.member_id = $4)) \
             ORDER BY group_id LIMIT $3",
            &[&tenant.map(|tenant| tenant.0), &after.map(|id| id.0), &limit, &member],
        )
        .await?;
    Ok(rows.iter().map(group).collect())
}

/// One group.
pub(super) async fn one(transaction: &Transaction, id: GroupId) -> Result<Option<GroupRow>, StoreError> {
    let row = transaction
        .query_opt(
            "SELECT group_id, tenant_id, name, title, created_by, created_at FROM access.groups \
             WHERE group_id = $1",
            &[&id.0],
        )
        .await?;
    Ok(row.as_ref().map(group))
}

/// How many groups a tenant has.
pub(super) async fn count(transaction: &Transaction, tenant: TenantId) -> Result<i64, StoreError> {
    let row = transaction
        .query_one("SELECT count(*) FROM access.groups WHERE tenant_id = $1", &[&tenant.0])
        .await?;
    Ok(row.get(0))
}

/// Stores a group; false if the name is taken.
pub(super) async fn insert(transaction: &Transaction, row: &GroupRow) -> Result<bool, StoreError> {
    let touched = transaction
        .execute(
            "INSERT INTO access.groups (group_id, tenant_id, name, title, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT ON CONSTRAINT groups_name_key DO NOTHING",
            &[&row.id.0, &row.tenant.0, &row.name, &row.title, &row.created_by, &row.created_at],
        )
        .await?;
    Ok(touched == 1)
}

/// Removes a group with who is in it and what it is in; its grants are taken back.
pub(super) async fn remove(
    transaction: &Transaction,
    row: &GroupRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let own: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&row.tenant.0, &row.id.0];
    transaction
        .execute("DELETE FROM access.group_members WHERE tenant_id = $1 AND group_id = $2", &own)
        .await?;
    transaction
        .execute(
            "DELETE FROM access.group_members WHERE tenant_id = $1 AND member_kind = 'group' AND member_id = $2",
            &own,
        )
        .await?;
    transaction
        .execute(
            "UPDATE access.grants SET removed_at = $3 WHERE tenant_id = $1 AND principal_kind = 'group' \
             AND principal_id = $2 AND removed_at IS NULL",
            &[&row.tenant.0, &row.id.0, &now],
        )
        .await?;
    transaction
        .execute("DELETE FROM access.groups WHERE tenant_id = $1 AND group_id = $2", &own)
        .await
        .map(drop)
}

/// At most `limit` members of a group after `after`, in the order of their ids.
pub(super) async fn members(
    transaction: &Transaction,
    (group, after): (&GroupRow, Option<Uuid>),
    limit: i64,
) -> Result<Vec<MemberRow>, StoreError> {
    let rows = transaction
        .query(
            "SELECT group_id, member_kind, member_id, valid_from, valid_until, added_by, added_at \
             FROM access.group_members WHERE tenant_id = $1 AND group_id = $2 \
               AND ($3::uuid IS NULL OR member_id > $3) \
             ORDER BY member_id LIMIT $4",
            &[&group.tenant.0, &group.id.0, &after, &limit],
        )
        .await?;
    let member = |row: &Row| {
        Ok(MemberRow { membership: membership(row, 0)?, added_by: row.get(5), added_at: row.get(6) })
    };
    rows.iter().map(member).collect()
}

/// How many are in a group.
pub(super) async fn count_members(transaction: &Transaction, group: &GroupRow) -> Result<i64, StoreError> {
    let row = transaction
        .query_one(
            "SELECT count(*) FROM access.group_members WHERE tenant_id = $1 AND group_id = $2",
            &[&group.tenant.0, &group.id.0],
        )
        .await?;
    Ok(row.get(0))
}

/// Stores that someone is in a group, or until when he is now.
pub(super) async fn put_member(
    transaction: &Transaction,
    tenant: TenantId,
    row: &MemberRow,
) -> Result<(), StoreError> {
    let Membership { group, member, interval } = row.membership;
    let (from, until) = (bound(interval.from_us), bound(interval.until_us));
    transaction
        .execute(
            "INSERT INTO access.group_members (tenant_id, group_id, member_kind, member_id, valid_from, \
             valid_until, added_by, added_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT ON CONSTRAINT group_members_pkey DO UPDATE SET valid_from = $5, valid_until = $6, \
             added_by = $7, added_at = $8",
            &[
                &tenant.0,
                &group,
                &holder_kind(member),
                &holder_id(member),
                &from,
                &until,
                &row.added_by,
                &row.added_at,
            ],
        )
        .await
        .map(drop)
}

/// Takes someone out of a group; false if he was not in it.
pub(super) async fn remove_member(
    transaction: &Transaction,
    tenant: TenantId,
    (group, member): (GroupId, Holder),
) -> Result<bool, StoreError> {
    let touched = transaction
        .execute(
            "DELETE FROM access.group_members WHERE tenant_id = $1 AND group_id = $2 AND member_kind = $3 \
             AND member_id = $4",
            &[&tenant.0, &group.0, &holder_kind(member), &holder_id(member)],
        )
        .await?;
    Ok(touched == 1)
}

/// The groups that a principal is in itself, of which it is taken out.
pub(super) async fn leave_all(
    transaction: &Transaction,
    tenant: TenantId,
    member: Holder,
) -> Result<Vec<GroupId>, StoreError> {
    let rows = transaction
        .query(
            "DELETE FROM access.group_members WHERE tenant_id = $1 AND member_kind = $2 AND member_id = $3 \
             RETURNING group_id",
            &[&tenant.0, &holder_kind(member), &holder_id(member)],
        )
        .await?;
    Ok(rows.iter().map(|row| GroupId(row.get(0))).collect())
}
