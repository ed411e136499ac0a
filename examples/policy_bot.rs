//! Keeps rooms civil: it refuses invitations and content by the rules of policy lists and by words.
//!
//! Invite `@policybot` as a moderator, and start this with the rooms whose `m.policy.rule.*` it shall follow:
//! `POLICY_LISTS='!… !…' FORBIDDEN='spam scam'`.
//!
//! [Specification](https://spec.matrix.org/v1.17/client-server-api/#moderation-policy-lists)

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use matrix_appservice::ruma::events::room::message::OriginalRoomMessageEvent;
use matrix_appservice::ruma::{OwnedRoomId, RoomId, UserId, server_name};
use matrix_appservice::{
    AppService, Builder, Delivery, Error, Event, HandlerResult, Intent, Invitation, Journal,
    Membership, MembershipChange, Registration, TypedEvent,
};
use serde::Deserialize;

/// A rule of a list, or the end of one.
pub(crate) struct PolicyRule {
    list: OwnedRoomId,
    /// Type and state key: what a newer rule takes the place of.
    place: (String, String),
    content: Option<Content>,
}

#[derive(Clone, Deserialize)]
struct Content {
    entity: String,
    recommendation: String,
    #[serde(default)]
    reason: String,
}

/// All three types in one, so that a handler asks for them together.
impl TypedEvent for PolicyRule {
    const TYPE: &'static str = "m.policy.rule";

    fn asks_for(event: &Event) -> bool {
        let kinds = [
            "m.policy.rule.user",
            "m.policy.rule.room",
            "m.policy.rule.server",
        ];
        event.state_key().is_some() && kinds.contains(&event.kind())
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        Ok(Self {
            list: event.room_id().to_owned(),
            place: (
                event.kind().to_owned(),
                event.state_key().unwrap_or_default().to_owned(),
            ),
            // A rule that is lifted has an empty content.
            content: event.content().ok(),
        })
    }
}

type Rules = BTreeMap<(OwnedRoomId, (String, String)), Content>;

pub(crate) struct Policy {
    lists: HashSet<OwnedRoomId>,
    forbidden: Vec<String>,
    rules: Mutex<Rules>,
}

impl Policy {
    pub(crate) fn new(
        lists: impl IntoIterator<Item = OwnedRoomId>,
        forbidden: &[&str],
    ) -> Arc<Self> {
        Arc::new(Self {
            lists: lists.into_iter().collect(),
            forbidden: forbidden.iter().map(|word| word.to_lowercase()).collect(),
            rules: Mutex::default(),
        })
    }

    /// Reads the lists as they are now; what changes later is pushed.
    pub(crate) async fn subscribe(&self, bot: &Intent) -> Result<(), Error> {
        for list in &self.lists {
            bot.ensure_joined(list).await?;
            for event in bot.all_state(list).await? {
                if let Ok(event) = Event::parse(event.to_string().as_bytes())
                    && PolicyRule::asks_for(&event)
                    && let Ok(rule) = PolicyRule::read(&event)
                {
                    self.remember(rule);
                }
            }
        }
        Ok(())
    }

    fn remember(&self, rule: PolicyRule) {
        let place = (rule.list, rule.place);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        match rule
            .content
            .filter(|content| content.recommendation == "m.ban")
        {
            Some(content) => rules.insert(place, content),
            None => rules.remove(&place),
        };
    }

    /// Why this isn't welcome; `None` when it is.
    fn against(&self, kind: &str, entity: &str) -> Option<String> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = rules.iter().find(|((_, (of, _)), rule)| {
            of.ends_with(kind) && matches_glob(rule.entity.as_bytes(), entity.as_bytes())
        });
        rule.map(|((list, _), rule)| format!("{} (a rule of the list {list})", rule.reason))
    }

    fn against_user(&self, user: &UserId) -> Option<String> {
        self.against(".user", user.as_str())
            .or_else(|| self.against(".server", user.server_name().host()))
    }

    async fn invited(self: Arc<Self>, delivery: Delivery, invitation: Invitation) -> HandlerResult {
        let bot = delivery.intent(&invitation.user_id);
        let room = &invitation.room_id;
        let why = self
            .against_user(&invitation.sender)
            .or_else(|| self.against(".room", room.as_str()));
        match why {
            Some(why) => bot.leave(room, Some(&why)).await?,
            None => bot.join(room).await?,
        }
        Ok(())
    }

    async fn came(self: Arc<Self>, delivery: Delivery, member: Membership) -> HandlerResult {
        use MembershipChange::{Invited, Joined, Knocked};
        if matches!(member.change, Invited | Joined | Knocked)
            && let Some(why) = self.against_user(&member.user_id)
        {
            remove(&delivery.bot(), &member.room_id, &member.user_id, &why).await?;
        }
        Ok(())
    }

    async fn said(
        self: Arc<Self>,
        delivery: Delivery,
        event: OriginalRoomMessageEvent,
    ) -> HandlerResult {
        let (bot, room) = (delivery.bot(), &event.room_id);
        if let Some(why) = self.against_user(&event.sender) {
            bot.redact(room, &event.event_id, Some(&why)).await?;
            remove(&bot, room, &event.sender, &why).await?;
        } else if self.is_forbidden(event.content.body()) {
            bot.redact(
                room,
                &event.event_id,
                Some("a word that this room does not want"),
            )
            .await?;
            let why = "I removed a message with a word that this room does not want.";
            bot.send(room, matrix_appservice::Message::notice(why))
                .await?;
        }
        Ok(())
    }

    fn is_forbidden(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let mut words = text.split(|letter: char| !letter.is_alphanumeric());
        words.any(|word| self.forbidden.iter().any(|forbidden| forbidden == word))
    }

    /// A rule is new, other, or no more: those who are there already are looked at again.
    async fn ruled(self: Arc<Self>, delivery: Delivery, rule: PolicyRule) -> HandlerResult {
        if !self.lists.contains(&rule.list) {
            return Ok(());
        }
        self.remember(rule);
        let bot = delivery.bot();
        for room in bot.joined_rooms().await? {
            if self.lists.contains(&room) {
                continue;
            }
            for user in bot.joined_members(&room).await?.keys() {
                if let Some(why) = self.against_user(user) {
                    remove(&bot, &room, user, &why).await?;
                }
            }
        }
        Ok(())
    }
}

/// Bans, and says why. Where it may not, it leaves it to those who may.
async fn remove(bot: &Intent, room: &RoomId, user: &UserId, why: &str) -> HandlerResult {
    match bot.ban(room, user, Some(why)).await {
        Ok(()) => {
            let notice = format!("I banned {user}: {why}.");
            bot.send(room, matrix_appservice::Message::notice(notice))
                .await?;
        }
        Err(error) if error.is("M_FORBIDDEN") => {
            tracing::warn!(%room, "a ban is due here, and I may not ban");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// `*` is any text, `?` any letter.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    // Where the last star was, and up to where of the text it reaches so far.
    let mut star = None;
    while here < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[here] => {
                at += 1;
                here += 1;
            }
            _ => {
                let Some((star_at, reach)) = star else {
                    return false;
                };
                star = Some((star_at, reach + 1));
                (at, here) = (star_at + 1, reach + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

pub(crate) fn bridge(builder: Builder, policy: &Arc<Policy>) -> Builder {
    let [invited, came, said] = std::array::from_fn(|_| policy.clone());
    let ruled = policy.clone();
    builder
        .on_invitation(move |delivery, invitation| invited.clone().invited(delivery, invitation))
        .on_membership(move |delivery, member| came.clone().came(delivery, member))
        .on_message(move |delivery, event| said.clone().said(delivery, event))
        .on(move |delivery, rule: PolicyRule| ruled.clone().ruled(delivery, rule))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registration = Registration::load("registration/policy_bot.yaml")?;
    let homeserver = "http://127.0.0.1:8008".parse()?;
    let journal = Journal::open("policy_bot.db").await?;
    let lists = std::env::var("POLICY_LISTS").unwrap_or_default();
    let lists: Result<Vec<_>, _> = lists.split_whitespace().map(RoomId::parse).collect();
    let forbidden = std::env::var("FORBIDDEN").unwrap_or_default();
    let forbidden: Vec<_> = forbidden.split_whitespace().collect();
    let policy = Policy::new(lists?, &forbidden);

    let builder = AppService::builder(registration, server_name!("localhost"), homeserver, journal);
    let service = bridge(builder, &policy).build()?;
    let bot = service.intent(service.client().sender(), "subscribe");
    policy.subscribe(&bot).await?;
    service.serve("127.0.0.1:9000").await?;
    Ok(())
}
