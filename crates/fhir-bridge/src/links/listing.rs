//! The links as a list, for those who look what is linked.

use super::{Links, LinksError, tables::query};

/// How many stand on a page.
pub(super) const PAGE: usize = 500;

/// One link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// `room`, `account` or `message`.
    pub(crate) kind: String,
    /// The resource.
    pub(crate) resource: String,
    /// The room, user or event.
    pub(crate) matrix: String,
}

/// A part of the list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) links: Vec<Link>,
    /// What the next page begins behind.
    pub(crate) next: Option<(String, String, String)>,
}

impl Links {
    /// The links behind `after`; those of one resource, room, user or event when `id` names it.
    pub(crate) async fn page(
        &self,
        after: Option<(String, String, String)>,
        id: Option<&str>,
        messages: bool,
    ) -> Result<Page, LinksError> {
        let (kind, resource, matrix) = after.unwrap_or_default();
        let rows: Vec<(String, String, String)> = query(
            "SELECT kind, resource, matrix FROM (
                SELECT 'account' AS kind, resource, user_id AS matrix FROM account
                UNION ALL SELECT 'room', resource, room_id FROM room
                UNION ALL SELECT 'message', resource, event_id FROM event WHERE $1
             ) AS link
             WHERE (kind, resource, matrix) > ($2, $3, $4) AND ($5 IS NULL OR resource = $5 OR matrix = $5)
             ORDER BY kind, resource, matrix LIMIT $6",
        )
        .bind(messages)
        .bind(&kind)
        .bind(&resource)
        .bind(&matrix)
        .bind(id)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .all(&self.tables)
        .await?;
        let next = (rows.len() == PAGE).then(|| rows.last().cloned()).flatten();
        let links = rows
            .into_iter()
            .map(|(kind, resource, matrix)| Link {
                kind,
                resource,
                matrix,
            })
            .collect();
        Ok(Page { links, next })
    }

    /// Which resource has which room: those of one resource or one room, or all, behind `after`, in the order of
    /// resources.
    pub(crate) async fn rooms(
        &self,
        resource: Option<&str>,
        room: Option<&str>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, String)>, LinksError> {
        query(
            "SELECT resource, room_id FROM room
             WHERE resource > $1 AND ($2 IS NULL OR resource = $2) AND ($3 IS NULL OR room_id = $3)
             ORDER BY resource LIMIT $4",
        )
        .bind(after)
        .bind(resource)
        .bind(room)
        .bind(limit)
        .all(&self.tables)
        .await
    }
}
