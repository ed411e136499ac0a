//! The bridge, put together and run.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use fhir::{FhirClient, ResourceRef};
use matrix_appservice::{
    AppService, Delivery, Event, HandlerError, HandlerResult, Intent, Journal, Registration,
    ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, UserId},
};
use tokio::sync::{MutexGuard, Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, field::Empty};

use crate::{
    audit::{AUDIT, Audit, file::AuditFile},
    config::{self, Config, Network},
    database::Place,
    directory::{cache::Cache, watch},
    failure, hooks,
    lifecycle::{self, Carried},
    links::Links,
    mapping::{fingerprint::Fingerprints, ids::Ids},
    message::{Locks, asked::ASKS},
    network::{
        arrivals::{self, Arrivals, TIES},
        missed::{self, LOOK_BACKS, LookBacks},
        refresh::{self, REFRESH},
    },
    ops::{self, flows::Flows},
    policy::{Policy, source::Source},
    provision::{self, PROVISION, Provision},
    puller,
    servers::Servers,
    startup,
    thread::talk::{self, Talk},
};

/// Locks by name, a fixed number of them: two names may share one, so never hold two of the same kind.
#[derive(Default)]
pub(crate) struct Stripes([tokio::sync::Mutex<()>; 16]);

impl Stripes {
    pub(crate) async fn hold(&self, name: &str) -> MutexGuard<'_, ()> {
        let index = name.bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        self.0[index % self.0.len()].lock().await
    }
}

/// The journal's source of what was read from the FHIR server; with its name behind, where it has one.
const FHIR: &str = "fhir";

/// Rooms that are known to be none of ours; above this many, they are forgotten.
const FOREIGN_ROOMS: usize = 10_000;

/// What the handlers of one FHIR server share.
pub(crate) struct Bridge {
    /// What the FHIR server is called among several.
    pub(crate) name: Option<String>,
    /// The journal's source of what was read from it.
    pub(crate) source: &'static str,
    /// Its settings.
    pub(crate) server: config::Fhir,
    pub(crate) fhir: FhirClient,
    pub(crate) links: Links,
    pub(crate) ids: Ids,
    pub(crate) server_name: OwnedServerName,
    pub(crate) sender: OwnedUserId,
    pub(crate) registration: Registration,
    /// What is carried over of messages.
    pub(crate) settings: config::Messages,
    pub(crate) fingerprints: Fingerprints,
    /// Whoever works on a message holds its lock: its two directions run beside each other.
    pub(crate) messages: Locks,
    pub(crate) network: Network,
    pub(crate) journal: Journal,
    /// The journal's source of looks at what depends on something.
    pub(crate) looks: &'static str,
    /// Who may take part, in all servers' rooms.
    pub(crate) policy: Arc<Policy>,
    /// Where the policy's list comes from.
    pub(crate) federation_list: Option<Arc<Source>>,
    pub(crate) audit: Arc<Audit>,
    /// The journal's source of what is to be written down.
    pub(crate) audits: &'static str,
    /// The journal's source of what follows from a link that people made or undid.
    pub(crate) provisions: &'static str,
    /// Whether anybody may give commands: then what looks like one is no message.
    pub(crate) has_admins: bool,
    /// Into which rooms somebody came from another homeserver a moment ago.
    pub(crate) arrivals: Arrivals,
    /// The journal's source of events that are sent because of it.
    pub(crate) ties: &'static str,
    /// The journal's source of messages whose readers are to get their tasks.
    pub(crate) asks: &'static str,
    /// Which rooms are to be read back for what the homeserver never pushed.
    pub(crate) look_backs: LookBacks,
    /// The journal's source of those that are due.
    pub(crate) missed: &'static str,
    /// People who were read lately.
    pub(crate) people: Cache<ResourceRef, Option<fhir::Person>>,
    /// Who was found lately by an account or an identifier.
    pub(crate) found: Cache<String, Option<ResourceRef>>,
    /// Which roles a practitioner had lately, for its accounts.
    pub(crate) roles: Cache<ResourceRef, Vec<fhir::Person>>,
    /// What messages had to know of their conversations a moment ago.
    pub(crate) talks: Cache<ResourceRef, Arc<Talk>>,
    /// How many ghosts of a person were deactivated.
    pub(crate) retired: Mutex<HashMap<ResourceRef, u32>>,
    /// When its changes were read last.
    pub(crate) reads: puller::Reads,
    /// What is carried over, in numbers.
    pub(crate) flows: Arc<Flows>,
    /// Wakes the look at what is due.
    pub(crate) due: Notify,
    /// One room is made at a time for each resource: two at once would leave one of them behind.
    making_rooms: Stripes,
    /// One lane at a time looks who is missing in a room: two would both invite them.
    pub(crate) filling_rooms: Stripes,
    /// Ghosts whose names are known to be set.
    pub(crate) named: Mutex<HashSet<(OwnedUserId, String)>>,
    foreign_rooms: Mutex<HashSet<OwnedRoomId>>,
}

/// What the bridges of all FHIR servers share.
pub(crate) struct Shared {
    pub(crate) registration: Registration,
    journal: Journal,
    place: Place,
    policy: Arc<Policy>,
    federation_list: Option<Arc<Source>>,
    audit: Arc<Audit>,
    flows: Arc<Flows>,
}

impl Shared {
    pub(crate) fn open(
        config: &Config,
        registration: &Registration,
        journal: Journal,
    ) -> anyhow::Result<Self> {
        let policy = Arc::new(Policy::new(config.homeserver.name.clone(), &config.policy));
        let federation_list = match &config.policy.list {
            Some(list) => Some(Arc::new(Source::open(policy.clone(), list, &config.data)?)),
            None => None,
        };
        let file = AuditFile::open(&config.data.join("audit.log"))
            .context("audit.log can't be opened: check the folder `data`")?;
        Ok(Self {
            registration: registration.clone(),
            journal,
            place: Place::of(config)?,
            policy,
            federation_list,
            audit: Arc::new(Audit::new(config.audit.sink, file)),
            flows: Arc::default(),
        })
    }
}

/// Runs the bridge until `stop` is cancelled.
///
/// # Errors
///
/// One sentence that says what is wrong and what to do.
pub(crate) async fn run_on(
    config: &Config,
    carried: &mut Carried,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let registration = config.registration()?;
    let place = Place::of(config)?;
    startup::private_folder(&config.data)?;
    place.check(config).await?;
    // Before there is anything to be counted.
    ops::metrics::install();
    // First, because it says when another bridge works here.
    let journal = carried.journal(&place).await?;
    let shared = Shared::open(config, &registration, journal.clone())?;
    let federation_list = shared.federation_list.clone();
    let servers = Servers::open(config, &shared).await?;
    place.mark(&config.data)?;
    let token = config.provisioning.token()?;
    let provision = Provision::new(&servers, config);
    let app = build(&servers, &provision, registration, config, journal)?;
    let listener = carried.listen(&config.listen).await?;
    tracing::info!(listen = config.listen, "the bridge takes transactions");

    let tasks = TaskTracker::new();
    let mut all_hooks = Vec::new();
    for bridge in servers.iter() {
        let hooks = hooks::Hooks::load(&bridge.links, &bridge.server).await?;
        let pullers = puller::start(bridge, app.journal(), &stop, &tasks);
        if hooks.are_wanted() {
            let keeping = hooks::keep_subscribed(
                bridge.clone(),
                hooks.clone(),
                pullers.clone(),
                stop.clone(),
            );
            tasks.spawn(keeping.instrument(bridge.span()));
        }
        all_hooks.push((hooks, pullers));
        bridge
            .follow_leaving()
            .await
            .map_err(|error| anyhow::anyhow!("what is to be left: {}", error.class()))?;
        let (bridge, stop) = (bridge.clone(), stop.clone());
        let span = bridge.span();
        let all = async move {
            tokio::join!(
                refresh::run(bridge.clone()),
                watch::run(bridge.clone()),
                arrivals::run(bridge.clone()),
                missed::run(bridge)
            )
        };
        tasks.spawn(async move { stop.run_until_cancelled(all.instrument(span)).await });
    }
    let mut router = app
        .router()
        .merge(hooks::router(all_hooks))
        .merge(ops::support(&config.support));
    if let Some(token) = token {
        let bot = app.intent(app.client().sender(), "provisioning");
        router = router.merge(provision::api::router(provision::api::Api::new(
            &provision, bot, token,
        )));
        tracing::info!("rooms can be linked through the provisioning API");
    }
    ops::start(&servers, &app, config, &stop, &tasks).await?;
    if let Some(list) = federation_list {
        let stop = stop.clone();
        tasks.spawn(async move { stop.run_until_cancelled(list.keep()).await });
    }
    let fatal = startup::watch_peers(&servers, &app, config, &stop, &tasks);
    lifecycle::is_ready();
    let result = app.run(listener, router, stop.clone()).await;
    stop.cancel();
    tasks.close();
    // What is still asking a peer has nothing that could be lost.
    let _ = tokio::time::timeout(Duration::from_secs(5), tasks.wait()).await;
    result?;
    fatal.check()
}

fn build(
    servers: &Servers,
    provision: &Provision,
    registration: Registration,
    config: &Config,
    journal: Journal,
) -> anyhow::Result<AppService> {
    let on_event = servers.clone();
    let on_user = servers.clone();
    let on_receipt = servers.clone();
    let mut app = AppService::builder(
        registration,
        &config.homeserver.name,
        config.homeserver.url.clone(),
        journal,
    )
    .on_event(move |delivery, event| on_event.clone().matrix_event(delivery, event))
    .on_receipt(move |delivery, receipt| on_receipt.clone().receipt_came(delivery, receipt))
    .homeserver_versions(config.policy.matrix_versions())
    .drain_timeout(Duration::from_secs(config.drain_seconds))
    .on_user_query(move |bot, user| on_user.clone().user_query(bot, user));
    for bridge in servers.iter() {
        let on_fhir = bridge.clone();
        app = app.on_entry(bridge.source, move |delivery| {
            on_fhir
                .clone()
                .traced(delivery.clone(), on_fhir.clone().fhir_change(delivery))
        });
        let on_audit = bridge.clone();
        app = app.on_entry(bridge.audits, move |delivery| {
            on_audit
                .clone()
                .traced(delivery.clone(), on_audit.clone().write_down(delivery))
        });
        let on_provision = bridge.clone();
        app = app.on_entry(bridge.provisions, move |delivery| {
            on_provision
                .clone()
                .traced(delivery.clone(), on_provision.clone().provisioned(delivery))
        });
        let on_look = bridge.clone();
        app = app.on_entry(bridge.looks, move |delivery| {
            on_look
                .clone()
                .traced(delivery.clone(), on_look.clone().refresh(delivery))
        });
        let on_tie = bridge.clone();
        app = app.on_entry(bridge.ties, move |delivery| {
            let bridge = on_tie.clone();
            let work = {
                let delivery = delivery.clone();
                async move { bridge.tie(&delivery).await }
            };
            on_tie.clone().traced(delivery, work)
        });
        let on_ask = bridge.clone();
        app = app.on_entry(bridge.asks, move |delivery| {
            let bridge = on_ask.clone();
            let work = {
                let delivery = delivery.clone();
                async move { bridge.ask_now(&delivery).await }
            };
            on_ask.clone().traced(delivery, work)
        });
        let on_look_back = bridge.clone();
        app = app.on_entry(bridge.missed, move |delivery| {
            let bridge = on_look_back.clone();
            let work = {
                let delivery = delivery.clone();
                async move { bridge.look_back(&delivery).await }
            };
            on_look_back.clone().traced(delivery, work)
        });
    }
    Ok(provision::commands::listen(app, provision).build()?)
}

impl Bridge {
    /// Opens a FHIR server's links and makes its client, without asking it anything.
    pub(crate) async fn open(
        config: &Config,
        server: &config::Fhir,
        shared: &Shared,
    ) -> anyhow::Result<Self> {
        let place = &shared.place;
        let links = place
            .links(server)
            .await
            .with_context(|| format!("the links can't be opened: {}", place.advice()))?;
        startup::check_threads(server, &links).await?;
        let fhir = server.client().context("`fhir` in the configuration")?;
        let pseudonym_key = links
            .secret("pseudonym key", &startup::random_hex()?)
            .await?;
        let content_key = links.secret("content key", &startup::random_hex()?).await?;
        let arrivals = Arrivals::open(&links).await?;
        let look_backs = LookBacks::open(&links).await?;
        let retired = links.retired().await?.into_iter().collect();
        let directory = &config.network.directory;
        let lives = Duration::from_secs(directory.cache_seconds);
        let named = |source: &'static str| match &server.name {
            None => source,
            // Once for each server in a process's life.
            Some(name) => String::leak(format!("{source}:{name}")),
        };
        Ok(Self {
            source: named(FHIR),
            looks: named(REFRESH),
            arrivals,
            ties: named(TIES),
            asks: named(ASKS),
            look_backs,
            missed: named(LOOK_BACKS),
            network: config.network.clone(),
            journal: shared.journal.clone(),
            policy: shared.policy.clone(),
            federation_list: shared.federation_list.clone(),
            audit: shared.audit.clone(),
            audits: named(AUDIT),
            provisions: named(PROVISION),
            has_admins: !config.admins.is_empty(),
            people: Cache::new(lives, directory.cache_entries),
            found: Cache::new(lives, directory.cache_entries),
            roles: Cache::new(lives, directory.cache_entries),
            talks: Cache::new(
                lives.min(talk::LIVES),
                directory.cache_entries.min(talk::MOST),
            ),
            retired: Mutex::new(retired),
            reads: puller::Reads::default(),
            flows: shared.flows.clone(),
            due: Notify::new(),
            name: server.name.clone(),
            server: server.clone(),
            settings: config.messages.clone(),
            fingerprints: Fingerprints::new(content_key.into_bytes(), fhir.base().clone()),
            messages: Locks::default(),
            fhir,
            links,
            ids: Ids::new(server.prefix(&config.prefix), pseudonym_key.into_bytes()),
            server_name: config.homeserver.name.clone(),
            sender: shared
                .registration
                .sender(&config.homeserver.name)
                .context("`sender_localpart` and `homeserver.name` make no user id")?,
            registration: shared.registration.clone(),
            making_rooms: Stripes::default(),
            filling_rooms: Stripes::default(),
            named: Mutex::default(),
            foreign_rooms: Mutex::default(),
        })
    }

    /// Says in the log which FHIR server it is about, where there are several.
    pub(crate) fn span(&self) -> tracing::Span {
        match &self.name {
            None => tracing::Span::none(),
            Some(name) => tracing::error_span!("fhir", server = name),
        }
    }

    /// Does a handler's work so that what it says in the log, asks the FHIR server and writes down bears one id.
    pub(crate) async fn traced(
        self: Arc<Self>,
        delivery: Delivery,
        work: impl Future<Output = HandlerResult>,
    ) -> HandlerResult {
        let id = correlation(&delivery);
        let key = delivery.entry().key.as_deref();
        // A trace begins with it, by its name (`logging`).
        let span =
            tracing::error_span!(parent: &self.span(), "work", id, key, otel.status_code = Empty);
        let done = fhir::correlated(&id, work.instrument(span.clone())).await;
        if done.is_err() {
            span.record("otel.status_code", "error");
        }
        done
    }

    /// A lane of its own, where another server has a resource of the same type and id.
    pub(crate) fn lane(&self, lane: &str) -> String {
        match &self.name {
            None => lane.to_owned(),
            Some(name) => format!("{name}:{lane}"),
        }
    }

    /// A change on the FHIR server.
    async fn fhir_change(self: Arc<Self>, delivery: Delivery) -> HandlerResult {
        let change = puller::Stored::parse(&delivery.entry().payload)
            .ok_or_else(|| HandlerError::never("entry that this version can't read"))?;
        let (reference, json) = (&change.reference, change.resource.as_ref());
        if self.is_thread(reference, json).await? {
            return self.thread_is(&delivery, reference, json).await;
        }
        match (reference.resource_type(), json) {
            (fhir::ResourceType::CareTeam, json) => {
                self.care_team_is(&delivery, reference, json).await
            }
            (fhir::ResourceType::Communication, Some(json)) => {
                self.communication_changed(&delivery, json).await
            }
            (fhir::ResourceType::Communication, None) => {
                self.communication_deleted(&delivery, reference).await
            }
            (fhir::ResourceType::Task, Some(json)) => self.task_changed(&delivery, json).await,
            _ => Ok(()),
        }
    }

    /// An event from the homeserver.
    pub(crate) async fn matrix_event(
        self: Arc<Self>,
        delivery: Delivery,
        event: Event,
    ) -> HandlerResult {
        self.watch_arrivals(&delivery.bot(), &event, delivery.entry().received_at)
            .await?;
        self.watch_missed(&delivery.bot(), &event).await?;
        if self.is_refused(&delivery, &event).await? {
            return Ok(());
        }
        match event.kind() {
            "m.room.member" => self.membership_changed(&delivery, &event).await,
            "m.space.child" => self.child_changed(&delivery, &event).await,
            _ if self.is_ours(event.sender()) => Ok(()),
            _ => self.event_written(&delivery, &event).await,
        }
    }

    /// What is to be written down of what the bridge did.
    async fn write_down(self: Arc<Self>, delivery: Delivery) -> HandlerResult {
        self.audit.deliver(&self.fhir, &delivery).await
    }

    /// Does this ghost exist? It does when its person is on the FHIR server.
    pub(crate) async fn user_query(
        self: Arc<Self>,
        bot: Intent,
        user: OwnedUserId,
    ) -> Result<bool, HandlerError> {
        let Some(person) = self.ids.resource(user.localpart()) else {
            return Ok(false);
        };
        if user.server_name() != self.server_name
            || fhir::PersonKind::of(person.resource_type()).is_none()
        {
            return Ok(false);
        }
        let Some(person) = self.person(&person).await? else {
            return Ok(false);
        };
        self.ensure_ghost(&bot, &person).await?;
        Ok(true)
    }

    /// Whether this is the bridge's own user or one of its ghosts.
    pub(crate) fn is_ours(&self, user: &UserId) -> bool {
        user == self.sender
            || (user.server_name() == self.server_name
                && self
                    .registration
                    .namespaces
                    .users
                    .matches_exclusively(user.as_str()))
    }

    /// Held while the room of a resource is made.
    pub(crate) async fn making_room(&self, resource: &ResourceRef) -> MutexGuard<'_, ()> {
        self.making_rooms.hold(&resource.to_string()).await
    }

    /// The resource of a room; `None` when the room is none of ours.
    ///
    /// A room of ours may be unknown, when the bridge stopped between making and noting it: its alias
    /// tells, and counts only when we made the room.
    pub(crate) async fn resource_of_room(
        &self,
        bot: &Intent,
        room: &RoomId,
    ) -> Result<Option<ResourceRef>, HandlerError> {
        if let Some(resource) = self
            .links
            .resource_of_room(room)
            .await
            .map_err(failure::links)?
        {
            return Ok(Some(resource));
        }
        let is_foreign = lock(&self.foreign_rooms).contains(room);
        if is_foreign {
            return Ok(None);
        }
        let resource = self.resource_of_unknown_room(bot, room).await?;
        if let Some(resource) = &resource {
            self.links
                .link_room(resource, room)
                .await
                .map_err(failure::links)?;
        } else {
            let mut foreign = lock(&self.foreign_rooms);
            if foreign.len() >= FOREIGN_ROOMS {
                foreign.clear();
            }
            foreign.insert(room.to_owned());
        }
        Ok(resource)
    }

    async fn resource_of_unknown_room(
        &self,
        bot: &Intent,
        room: &RoomId,
    ) -> Result<Option<ResourceRef>, HandlerError> {
        let Some(content) = bot.state(room, "m.room.canonical_alias", "").await? else {
            return Ok(None);
        };
        let resource = content
            .get("alias")
            .and_then(serde_json::Value::as_str)
            .and_then(|alias| {
                alias
                    .strip_prefix('#')?
                    .strip_suffix(&format!(":{}", self.server_name))
            })
            .and_then(|localpart| self.ids.resource(localpart))
            // What is a conversation in another form of the record is none here.
            .filter(|resource| {
                *resource.resource_type() == fhir::ResourceType::CareTeam
                    || self.server.threads.is_of(resource)
            });
        let Some(resource) = resource else {
            return Ok(None);
        };
        // A former room of a resource that has another one now, or is to have none.
        let has_room = self.links.room(&resource).await.map_err(failure::links)?;
        let unlinked = self.links.is_unlinked(&resource).await;
        if has_room.is_some() || unlinked.map_err(failure::links)? {
            return Ok(None);
        }
        let own = match bot.find_own_room(&self.ids.alias(&resource)).await {
            Ok(own) => own,
            Err(matrix_appservice::Error::ForeignAlias) => None,
            Err(error) => return Err(error.into()),
        };
        Ok((own.as_deref() == Some(room)).then_some(resource))
    }

    /// A room that was none of ours may be one now.
    pub(crate) fn is_foreign_no_more(&self, room: &RoomId) {
        lock(&self.foreign_rooms).remove(room);
    }

    /// Notes which room a resource has.
    pub(crate) async fn link_room(&self, resource: &ResourceRef, room: &RoomId) -> HandlerResult {
        self.is_foreign_no_more(room);
        self.links
            .link_room(resource, room)
            .await
            .map_err(failure::links)
    }
}

/// The id of what is done because of a delivery, after its source. It never comes again for anything else, as the ids of
/// entries do after a restart.
pub(crate) fn correlation(delivery: &Delivery) -> String {
    let source = delivery.entry().source.replace(':', "-");
    format!("{source}-{}", delivery.work_id())
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
