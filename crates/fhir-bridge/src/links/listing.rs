//! The links as a list, for those who look what is linked.

use super::{Links, LinksError};

/// How many stand on a page.
const PAGE: usize = 500;

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
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT kind, resource, matrix FROM (
                SELECT 'account' AS kind, resource, user_id AS matrix FROM account
                UNION ALL SELECT 'room', resource, room_id FROM room
                UNION ALL SELECT 'message', resource, event_id FROM event WHERE ?
             )
             WHERE (kind, resource, matrix) > (?, ?, ?) AND (? IS NULL OR resource = ? OR matrix = ?)
             ORDER BY kind, resource, matrix LIMIT ?",
        )
        .bind(messages)
        .bind(&kind)
        .bind(&resource)
        .bind(&matrix)
        .bind(id)
        .bind(id)
        .bind(id)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
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
        Ok(sqlx::query_as(
            "SELECT resource, room_id FROM room
             WHERE resource > ?1 AND (?2 IS NULL OR resource = ?2) AND (?3 IS NULL OR room_id = ?3)
             ORDER BY resource LIMIT ?4",
        )
        .bind(after)
        .bind(resource)
        .bind(room)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }
}

#[cfg(test)]
mod tests {
    use fhir::ResourceRef;
    use matrix_appservice::ruma::{room_id, user_id};

    use super::*;

    #[tokio::test]
    async fn all_links_are_listed_page_by_page_or_those_of_one_id() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(&folder.path().join("links.db")).await.unwrap();
        let reference = |text: &str| ResourceRef::parse(text).unwrap();
        for number in 0..PAGE {
            let room = matrix_appservice::ruma::RoomId::parse(format!("!{number}:vvt")).unwrap();
            let thread = reference(&format!("CommunicationRequest/{number}"));
            links.link_room(&thread, &room).await.unwrap();
        }
        let person = reference("Practitioner/1");
        links
            .link_person(user_id!("@arts:huisarts"), &person)
            .await
            .unwrap();

        let first = links.page(None, None, false).await.unwrap();
        assert_eq!(first.links.len(), PAGE);
        assert_eq!(first.links[0].matrix, "@arts:huisarts");
        let rest = links.page(first.next, None, false).await.unwrap();
        assert_eq!(rest.links.len(), 1);
        assert_eq!(rest.next, None);

        let one = links
            .page(None, Some(room_id!("!7:vvt").as_str()), false)
            .await
            .unwrap();
        assert_eq!(one.links[0].resource, "CommunicationRequest/7");
        assert_eq!(one.links.len(), 1);
    }
}
