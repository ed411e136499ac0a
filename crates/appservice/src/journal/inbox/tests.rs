use super::{
    super::{NewEntry, split::Split},
    *,
};

fn fresh(id: i64, bytes: usize) -> Fresh {
    let entry = NewEntry::new("test", "", "a", vec![0; bytes]);
    Fresh {
        id,
        received_at: 0,
        split: Split {
            waiting: vec![entry],
            ..Split::default()
        },
    }
}

fn next(inbox: &mut Inbox) -> Vec<i64> {
    match inbox.next(3) {
        Next::Fresh(batch) => batch.iter().map(|fresh| fresh.id).collect(),
        Next::Stored(after) => vec![-after],
        Next::Nothing => Vec::new(),
    }
}

#[test]
fn the_store_is_read_first_and_nothing_is_taken_twice() {
    let mut inbox = Inbox::behind();
    inbox.push(fresh(5, 1));
    assert_eq!(next(&mut inbox), [0], "from the store");
    inbox.taken(5);
    inbox.caught_up();
    // It came between the last look into the store and the one that is due.
    inbox.push(fresh(6, 1));
    inbox.push(fresh(7, 1));
    inbox.taken(6);
    assert_eq!(next(&mut inbox), [7]);
    inbox.taken(7);
    assert!(next(&mut inbox).is_empty());
}

#[test]
fn what_has_no_room_is_read_from_the_store() {
    let mut inbox = Inbox::default();
    for id in 1..=4 {
        inbox.push(fresh(id, MOST_BYTES / 3));
    }
    inbox.push(fresh(5, 1));
    assert_eq!(next(&mut inbox), [1, 2]);
    inbox.taken(2);
    assert_eq!(
        next(&mut inbox),
        [-2],
        "what is behind these is in the store"
    );
    inbox.put_back();
    assert_eq!(next(&mut inbox), [-2]);
}
