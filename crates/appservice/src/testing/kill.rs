//! Ends an application service at the worst moments, and looks whether that shows in the end.

mod life;

use std::fmt;

use ruma::{OwnedServerName, ServerName, server_name};

pub use self::life::Effects;
use self::life::Life;
use super::{FakeHomeserver, TempJournal, homeserver::Step};
use crate::{appservice::Builder, registration::Registration};

/// A story is told to an application service that ends behind each of its effects and starts again on
/// the same journal. Panics when the end isn't the one of a life without interruption: a message is
/// missing, is there twice, or at another place.
///
/// `bridge` adds the handlers; it is called at each start. `story` is what people do; it may
/// [`settle`](FakeHomeserver::settle) in between, when people wait for an answer. What is compared is
/// the homeserver's [transcript](FakeHomeserver::transcript); [`KillTest`] compares something else, or
/// lets the homeserver forget its transaction ids, too.
///
/// ```
/// use matrix_appservice::{Registration, testing::assert_survives_kill_at_each_step};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registration = Registration::generate("echo", "echobot").build()?;
/// assert_survives_kill_at_each_step(
///     &registration,
///     |bridge| {
///         bridge.accept_invitations().on_message(|delivery, event| async move {
///             let text = event.content.body();
///             delivery.bot().send_text(&event.room_id, text).await?;
///             Ok(())
///         })
///     },
///     async |homeserver| {
///         let anna = homeserver.person("anna");
///         let room = anna.makes_room();
///         anna.invites(&room, homeserver.sender().id());
///         homeserver.settle().await;
///         anna.says(&room, "Is there anybody?");
///         anna.says(&room, "Hello?");
///     },
/// )
/// .await;
/// # Ok(())
/// # }
/// ```
///
/// # What it does and doesn't simulate
///
/// The application service has a thread and a runtime of its own, and is pushed to over HTTP. It ends
/// behind each call that changes something (the homeserver has done it, and the answer never comes),
/// behind each transaction that it has stored (the acknowledgement never comes), behind each entry that the story
/// [appends](FakeHomeserver::append), behind each of [`KillTest::effects`], and once when all is done. Its tasks are dropped where they wait, without
/// drain and without a word to the journal.
///
/// It is still the same process: a task isn't ended between two points where it waits, a database
/// commit that has begun is carried through, and files are closed properly. Statics live on. For the
/// rest, end a real process with SIGKILL, as `tests/kill.rs` of this crate does.
pub async fn assert_survives_kill_at_each_step<B, S>(
    registration: &Registration,
    bridge: B,
    story: S,
) where
    B: Fn(Builder) -> Builder + Clone + Send + Sync + 'static,
    S: AsyncFn(FakeHomeserver),
{
    KillTest::new(registration, bridge).run(story).await;
}

type Outcome = Box<dyn Fn(&FakeHomeserver) -> String>;

/// As [`assert_survives_kill_at_each_step`], with choices.
pub struct KillTest<B> {
    registration: Registration,
    server_name: OwnedServerName,
    bridge: B,
    forgets: bool,
    outcome: Outcome,
    effects: Effects,
}

impl<B> fmt::Debug for KillTest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KillTest").finish_non_exhaustive()
    }
}

impl<B> KillTest<B>
where
    B: Fn(Builder) -> Builder + Clone + Send + Sync + 'static,
{
    /// An application service with this registration and these handlers, on the homeserver
    /// `example.org`.
    pub fn new(registration: &Registration, bridge: B) -> Self {
        Self {
            registration: registration.clone(),
            server_name: server_name!("example.org").to_owned(),
            bridge,
            forgets: false,
            outcome: Box::new(|homeserver| format!("{:#?}", homeserver.transcript())),
            effects: Effects::default(),
        }
    }

    /// The homeserver's name. Default: `example.org`.
    #[must_use]
    pub fn server_name(mut self, name: &ServerName) -> Self {
        name.clone_into(&mut self.server_name);
        self
    }

    /// The homeserver forgets the transaction ids of sends whenever the application service ends, as
    /// when both were on a machine that failed. Default: it remembers them.
    #[must_use]
    pub fn homeserver_forgets(mut self) -> Self {
        self.forgets = true;
        self
    }

    /// Compares this in the end. Default: [`FakeHomeserver::transcript`]. When handlers of several
    /// rooms write into one room, the order is left to chance also without an end: compare what each
    /// has written.
    #[must_use]
    pub fn outcome<T: fmt::Debug>(
        mut self,
        outcome: impl Fn(&FakeHomeserver) -> T + 'static,
    ) -> Self {
        self.outcome = Box::new(move |homeserver| format!("{:#?}", outcome(homeserver)));
        self
    }

    /// Effects elsewhere, such as on the other network of a bridge: the test's double of it says when
    /// one has taken place. The story is told many times, and the double outlives each: empty it at the story's beginning.
    #[must_use]
    pub fn effects(mut self, effects: &Effects) -> Self {
        self.effects = effects.clone();
        self
    }

    /// Tells the story without an interruption, and then once for each step of it, and once more with
    /// an end when all is done.
    pub async fn run<S: AsyncFn(FakeHomeserver)>(self, story: S) {
        let whole = self.live(End::Never, &story).await;
        assert!(!whole.steps.is_empty(), "the story has no effect");
        for step in &whole.steps {
            let cut = self.live(End::Behind(step), &story).await;
            let behind = format!("behind {}, number {}", step.name, step.time);
            compare(&whole, &cut, &behind);
        }
        let cut = self.live(End::WhenAllIsDone, &story).await;
        compare(&whole, &cut, "when all was done");
    }

    /// One run, which ends there and then goes on.
    async fn live<S: AsyncFn(FakeHomeserver)>(&self, end: End<'_>, story: &S) -> Run {
        let homeserver = FakeHomeserver::start(&self.server_name, &self.registration).await;
        let steps = homeserver.steps();
        if let End::Behind(step) = end {
            steps.stop_behind(step);
        }
        self.effects.belong_to(&homeserver);
        let place = TempJournal::new();
        let mut life = Life::start(&homeserver, &place, self.bridge.clone()).await;
        let told = async {
            story(homeserver.clone()).await;
            homeserver.settle().await;
        };
        tokio::pin!(told);
        let goes_on = tokio::select! {
            () = &mut told => end == End::WhenAllIsDone,
            () = steps.reached() => true,
        };
        if goes_on {
            self.end(life, &homeserver).await;
            life = Life::start(&homeserver, &place, self.bridge.clone()).await;
        }
        match end {
            End::Never => {}
            End::Behind(_) if goes_on => told.await,
            End::Behind(_) | End::WhenAllIsDone => homeserver.settle().await,
        }
        self.end(life, &homeserver).await;
        Run {
            outcome: (self.outcome)(&homeserver),
            steps: steps.taken(),
        }
    }

    async fn end(&self, life: Life, homeserver: &FakeHomeserver) {
        homeserver.disconnect();
        life.end().await;
        if self.forgets {
            homeserver.forget_transaction_ids();
        }
        homeserver.come_back();
    }
}

/// Where a run is interrupted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End<'a> {
    Never,
    Behind(&'a Step),
    WhenAllIsDone,
}

fn compare(whole: &Run, cut: &Run, when: &str) {
    assert!(
        cut.outcome == whole.outcome,
        "ended {when}, and it shows\nwithout: {}\nwith: {}",
        whole.outcome,
        cut.outcome
    );
}

struct Run {
    outcome: String,
    steps: Vec<Step>,
}
