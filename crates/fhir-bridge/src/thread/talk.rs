//! What a message has to know of its conversation, remembered for a moment.
//!
//! Each message that people write is put on record with those for whom it is, and each of them gets a task. While many
//! come at once, that is the same for all of them, and takes longer to read than to write.
//!
//! It decides about nobody's access: who is let into a room, and who has to go, is read anew whenever it is looked at. It
//! is forgotten when a change of the conversation, its care team or the people in it is read, or made here, and is never
//! older than [`LIVES`]; nor does it outlive a period that begins or ends.

use std::{sync::Arc, time::Duration};

use fhir::{Instant, ResourceRef};
use matrix_appservice::{HandlerError, ruma::OwnedUserId};

use crate::{bridge::Bridge, directory::roster::Roster, mapping::thread::Thread};

/// How long it is remembered at the most: long enough for what people say at once, and no longer than a change may take
/// to get here anyway.
pub(crate) const LIVES: Duration = Duration::from_secs(2);

/// How many conversations are remembered at the most.
pub(crate) const MOST: usize = 1_000;

/// A conversation as its messages see it.
pub(crate) struct Talk {
    pub(crate) thread: Thread,
    /// Who has to read what is said; nobody where there are no tasks.
    pub(crate) readers: Vec<Reader>,
    /// Whatever was read for it, beside the conversation itself.
    depends: Vec<ResourceRef>,
}

/// Somebody who takes part.
pub(crate) struct Reader {
    pub(crate) person: ResourceRef,
    /// Their own account, or their ghost.
    pub(crate) user: OwnedUserId,
}

impl Bridge {
    /// A conversation as it was a moment ago. `None` when there is none.
    pub(crate) async fn talk(
        &self,
        conversation: &ResourceRef,
    ) -> Result<Option<Arc<Talk>>, HandlerError> {
        match self.talks.get(conversation) {
            Some(known) => Ok(Some(known)),
            None => self.read_talk(conversation).await,
        }
    }

    /// A conversation as it is now. `None` when there is none.
    pub(crate) async fn read_talk(
        &self,
        conversation: &ResourceRef,
    ) -> Result<Option<Arc<Talk>>, HandlerError> {
        let mark = self.talks.mark();
        let Some(thread) = self.thread(conversation).await? else {
            return Ok(None);
        };
        let roster = if self.settings.tasks {
            self.roster(thread.participants.clone(), None).await?
        } else {
            Roster::default()
        };
        let mut depends = roster.depends;
        depends.extend(thread.care_teams.iter().cloned());
        let readers = roster.members.into_iter().map(|member| Reader {
            person: member.person.reference,
            user: member.user,
        });
        let talk = Arc::new(Talk {
            readers: readers.collect(),
            thread,
            depends,
        });
        if roster.next.is_none_or(|next| lasts(&next)) {
            self.talks.put(conversation.clone(), talk.clone(), mark);
        }
        Ok(Some(talk))
    }

    /// A resource has changed: what was remembered of conversations in which it takes part may be so no longer.
    pub(crate) fn forget_talks(&self, changed: &ResourceRef) {
        self.talks.forget_those(|conversation, talk| {
            conversation == changed || talk.depends.contains(changed)
        });
    }
}

/// Whether a time is further away than anything is remembered.
fn lasts(until: &Instant) -> bool {
    let lives = u64::try_from(LIVES.as_millis()).unwrap_or(u64::MAX);
    until.unix_millis() > Instant::now().unix_millis().saturating_add(lives)
}
