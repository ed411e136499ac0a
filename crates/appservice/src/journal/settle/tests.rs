//! Settling under a load that goes on.

use super::*;
use crate::journal::intake::Intake;

#[tokio::test]
async fn the_log_is_moved_to_its_place_also_while_there_is_more_to_settle() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.db");
    let journal = Journal::open(&file).await.unwrap();
    let text = "x".repeat(1000);
    for transaction in 0..25 {
        let events: Vec<_> = (0..100)
            .map(|nth| {
                format!(
                    r#"{{"event_id":"${transaction}_{nth}","room_id":"!a","content":{{"body":"{text}"}}}}"#
                )
            })
            .collect();
        let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
        let pushed = journal.push("1".to_owned(), body.into(), Arc::default());
        pushed.await.unwrap();
    }
    while journal.take_in(&Intake::default()).await.unwrap() {}
    for id in 1..=2500 {
        journal.done(id);
    }
    let before = std::fs::metadata(&file).unwrap().len();

    let mut keeping = Housekeeping::new();
    keeping.tidy_at = Instant::now();
    journal.settle_old(&mut keeping).await.unwrap();

    let after = std::fs::metadata(&file).unwrap().len();
    assert!(after > before + 1_000_000, "{before} to {after} bytes");
}
