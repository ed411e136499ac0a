use ruma::user_id;
use tokio::task::JoinHandle;

use super::*;
use crate::client::clock::ByHand;

const SEND: &str = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
const TYPING: &str = "/_matrix/client/v3/rooms/{roomId}/typing/{userId}";
const SECOND: Duration = Duration::from_secs(1);

struct World {
    hands: ByHand,
    limiter: Arc<Limiter>,
    went: Arc<Mutex<Vec<&'static str>>>,
}

impl World {
    fn new() -> Self {
        Self {
            hands: ByHand::new(),
            limiter: Arc::default(),
            went: Arc::default(),
        }
    }

    fn alice() -> &'static UserId {
        user_id!("@alice:hs.test")
    }

    /// Somebody who comes to the gate and, once through, writes its name down and keeps its turn until
    /// the test lets it go.
    async fn come(&self, name: &'static str, patience: Duration) -> Caller {
        let (limiter, clock) = (self.limiter.clone(), self.hands.clock());
        let went = self.went.clone();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let caller = tokio::spawn(async move {
            let deadline = clock.now() + patience;
            let turn = limiter.enter(&clock, Self::alice(), SEND, deadline).await?;
            went.lock().unwrap().push(name);
            let _ = wait.await;
            drop(turn);
            Ok(())
        });
        settle().await;
        Caller { caller, go }
    }

    fn went(&self) -> Vec<&'static str> {
        self.went.lock().unwrap().clone()
    }

    /// A call that gets a 429, and comes again.
    async fn limit(&self, name: &'static str, pause: Duration) -> Caller {
        let (limiter, clock) = (self.limiter.clone(), self.hands.clock());
        let went = self.went.clone();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let caller = tokio::spawn(async move {
            let deadline = clock.now() + 30 * SECOND;
            let turn = limiter
                .limited(&clock, None, Self::alice(), SEND, pause, deadline)
                .await?;
            went.lock().unwrap().push(name);
            let _ = wait.await;
            drop(turn);
            Ok(())
        });
        settle().await;
        Caller { caller, go }
    }
}

struct Caller {
    caller: JoinHandle<Result<(), TooLong>>,
    go: tokio::sync::oneshot::Sender<()>,
}

impl Caller {
    async fn done(self) -> Result<(), TooLong> {
        let _ = self.go.send(());
        let result = self.caller.await.unwrap();
        settle().await;
        result
    }
}

/// Lets all that can go on do so: there is one thread.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_waits_goes_in_the_order_of_coming_and_one_at_a_time() {
    let world = World::new();
    let first = world.limit("first", SECOND).await;
    let second = world.limit("second", SECOND / 2).await;
    let third = world.come("third", 30 * SECOND).await;
    world.hands.go_on(SECOND / 2);
    settle().await;
    assert!(world.went().is_empty(), "the longer pause counts");
    world.hands.go_on(SECOND / 2);
    settle().await;
    assert_eq!(world.went(), ["first"]);
    let fourth = world.come("fourth", 30 * SECOND).await;
    first.done().await.unwrap();
    assert_eq!(world.went(), ["first", "second"]);
    second.done().await.unwrap();
    assert_eq!(world.went(), ["first", "second", "third"]);
    third.done().await.unwrap();
    assert_eq!(world.limiter.gates(), 1);
    fourth.done().await.unwrap();
    assert_eq!(world.went(), ["first", "second", "third", "fourth"]);
    assert_eq!(world.limiter.gates(), 0, "nobody queues");
    assert_eq!(world.limiter.count.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn other_users_and_other_calls_go_on() {
    let world = World::new();
    let limited = world.limit("limited", SECOND).await;
    let clock = world.hands.clock();
    for (user, route) in [(user_id!("@bob:hs.test"), SEND), (World::alice(), TYPING)] {
        let turn = world
            .limiter
            .enter(&clock, user, route, clock.now())
            .await
            .unwrap();
        assert!(turn.is_none());
    }
    world.hands.go_on(SECOND);
    settle().await;
    limited.done().await.unwrap();
}

#[tokio::test]
async fn a_pause_that_is_longer_than_the_patience_is_told_at_once() {
    let world = World::new();
    let long = world.limit("long", 31 * SECOND).await;
    assert_eq!(long.done().await, Err(TooLong(31 * SECOND)));
    let patient = world.come("impatient", 10 * SECOND).await;
    assert_eq!(patient.done().await, Err(TooLong(31 * SECOND)));
    // It is kept all the same: who comes later must not run into it again.
    assert_eq!(world.limiter.gates(), 1);
    let later = world.come("later", 32 * SECOND).await;
    world.hands.go_on(31 * SECOND);
    settle().await;
    later.done().await.unwrap();
    assert_eq!(world.went(), ["later"]);
    assert_eq!(world.limiter.gates(), 0);
}

#[tokio::test]
async fn who_has_the_turn_and_is_limited_again_keeps_its_place() {
    let world = World::new();
    let clock = world.hands.clock();
    let deadline = clock.now() + 30 * SECOND;
    let limiter = &world.limiter;
    world.limit("", SECOND).await.caller.abort();
    settle().await;
    world.hands.go_on(SECOND);
    let turn = limiter
        .enter(&clock, World::alice(), SEND, deadline)
        .await
        .unwrap();
    let behind = world.come("behind", 30 * SECOND).await;
    let again = limiter.limited(&clock, turn, World::alice(), SEND, SECOND, deadline);
    tokio::pin!(again);
    assert!(
        futures_pending(&mut again).await,
        "it waits, and the other one behind it"
    );
    world.hands.go_on(SECOND);
    settle().await;
    assert!(world.went().is_empty());
    drop(again.await.unwrap());
    settle().await;
    behind.done().await.unwrap();
    assert_eq!(world.went(), ["behind"]);
}

async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::select! {
        biased;
        _ = future => false,
        () = settle() => true,
    }
}

#[tokio::test]
async fn who_gives_up_waiting_holds_nobody_back() {
    let world = World::new();
    let first = world.limit("first", SECOND).await;
    let gone = world.come("gone", 30 * SECOND).await;
    let last = world.come("last", 30 * SECOND).await;
    let impatient = world.come("impatient", 2 * SECOND).await;
    gone.caller.abort();
    world.hands.go_on(2 * SECOND);
    settle().await;
    assert_eq!(
        impatient.done().await,
        Err(TooLong(Duration::ZERO)),
        "the first one takes its time"
    );
    first.done().await.unwrap();
    last.done().await.unwrap();
    assert_eq!(world.went(), ["first", "last"]);
    assert_eq!(world.limiter.gates(), 0);
}

#[test]
fn a_homeserver_counts_alike_calls_together() {
    let class = |route| Class::of(route);
    let state = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    assert_eq!(class(SEND), Class::Event);
    assert_eq!(class(state), Class::Event);
    assert_eq!(
        class("/_matrix/client/v3/join/{roomIdOrAlias}"),
        Class::Join
    );
    assert_eq!(class("/_matrix/client/v3/rooms/{roomId}/join"), Class::Join);
    assert_eq!(
        class("/_matrix/client/v3/rooms/{roomId}/invite"),
        Class::Invite
    );
    assert_eq!(class("/_matrix/client/v3/register"), Class::Account);
    assert_eq!(class("/_matrix/media/v3/upload"), Class::Media);
    assert_eq!(class("/_matrix/client/v1/media/config"), Class::Media);
    assert_eq!(class(TYPING), Class::Other(TYPING));
}
