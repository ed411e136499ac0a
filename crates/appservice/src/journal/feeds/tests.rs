use super::*;

fn entry(id: i64, bytes: usize) -> Arc<Entry> {
    Arc::new(Entry {
        id,
        reader: String::new(),
        source: "test".into(),
        key: None,
        lane: "a".into(),
        attempts: 0,
        received_at: 0,
        due_at: 0,
        begun: false,
        slot: None,
        payload: vec![0; bytes].into(),
    })
}

/// What is next: an entry's id, or up to which id the store is to be read.
#[derive(Debug, PartialEq)]
enum Next {
    Entry(i64),
    Stored(i64),
    /// Not yet.
    UnderWay(i64),
}

fn next(feeds: &Feeds, feed: u64) -> Option<Next> {
    Some(match feeds.peek(feed)? {
        Item::Entry(entry) => Next::Entry(entry.id),
        Item::Stored {
            up_to,
            under_way: 0,
        } => Next::Stored(*up_to),
        Item::Stored { up_to, .. } => Next::UnderWay(*up_to),
    })
}

fn open(feeds: &mut Feeds) -> u64 {
    let feed = feeds.open("", Queue::Each, Arc::default());
    assert_eq!(next(feeds, feed), Some(Next::Stored(feeds.newest())));
    feeds.read(feed, feeds.newest());
    assert_eq!(next(feeds, feed), None);
    feed
}

#[test]
fn nothing_goes_past_a_commit_that_is_under_way() {
    let mut feeds = Feeds::above(10);
    let feed = open(&mut feeds);
    let stored = feeds.ids(2);
    let under_way = feeds.storing(Queue::Each, stored + 1);
    let offered = feeds.ids(1);
    assert!(feeds.offer(&entry(offered, 1)));
    assert_eq!(next(&feeds, feed), Some(Next::UnderWay(12)));
    // Somebody has read too early: that counts for nothing.
    feeds.read(feed, 12);
    assert_eq!(next(&feeds, feed), Some(Next::UnderWay(12)));
    feeds.stored(under_way);
    assert_eq!(next(&feeds, feed), Some(Next::Stored(12)));
    feeds.read(feed, 12);
    assert_eq!(next(&feeds, feed), Some(Next::Entry(13)));
}

#[test]
fn a_feed_that_is_opened_during_a_commit_waits_for_it() {
    let mut feeds = Feeds::above(0);
    let id = feeds.ids(1);
    let other = feeds.storing(Queue::Latest, id);
    let first = feeds.storing(Queue::Each, id);
    let second = feeds.storing(Queue::Each, id);
    let feed = feeds.open("", Queue::Each, Arc::default());
    assert_eq!(next(&feeds, feed), Some(Next::UnderWay(1)));
    feeds.stored(first);
    assert_eq!(next(&feeds, feed), Some(Next::UnderWay(1)));
    feeds.stored(second);
    assert_eq!(next(&feeds, feed), Some(Next::Stored(1)));
    feeds.stored(other);
    feeds.read(feed, 1);
    assert_eq!(next(&feeds, feed), None);
}

#[test]
fn a_mark_that_moves_on_while_the_store_is_read_is_read_again() {
    let mut feeds = Feeds::above(0);
    let feed = open(&mut feeds);
    let first = feeds.storing(Queue::Each, 1);
    feeds.stored(first);
    assert_eq!(next(&feeds, feed), Some(Next::Stored(1)));
    let second = feeds.storing(Queue::Each, 2);
    feeds.stored(second);
    feeds.read(feed, 1);
    assert_eq!(next(&feeds, feed), Some(Next::Stored(2)));
}

#[test]
fn what_has_no_room_is_read_from_the_store_in_its_place() {
    let mut feeds = Feeds::above(0);
    let feed = open(&mut feeds);
    let most = i64::try_from(MOST_ENTRIES).unwrap();
    for id in 1..=most + 5 {
        assert_eq!(feeds.offer(&entry(id, 1)), id <= most);
    }
    for id in 1..=most {
        assert_eq!(next(&feeds, feed), Some(Next::Entry(id)));
        feeds.taken(feed);
    }
    // There is room again, behind what has to be read.
    assert!(feeds.offer(&entry(most + 6, 1)));
    assert_eq!(next(&feeds, feed), Some(Next::Stored(most + 5)));
    feeds.read(feed, most + 5);
    assert_eq!(next(&feeds, feed), Some(Next::Entry(most + 6)));
    // However large one is, it fits when it is the only one.
    feeds.taken(feed);
    assert!(feeds.offer(&entry(most + 7, MOST_BYTES + 1)));
    assert!(!feeds.offer(&entry(most + 8, 1)));
}
