//! What every [`Store`] has to hold to, as tests: for those of this crate, and for one of your own.
//!
//! ```no_run
//! # use matrix_appservice::{JournalError, testing::store};
//! # use matrix_appservice::store::Store;
//! # async fn example<MyStore: Store>(open: impl AsyncFn(&str) -> Result<MyStore, JournalError>) {
//! let new = async || open("a place where nothing is yet").await.unwrap();
//! store::conformance(new).await;
//!
//! let again = async || open("always the same place").await;
//! store::reopening(again).await;
//! # }
//! ```

mod appends;
mod latest;
mod letters;
mod pushes;
mod reopening;
mod retention;
mod rows;
mod scans;
mod settlements;
mod side_by_side;

pub use self::reopening::reopening;
use crate::store::Store;

/// Holds a store to the rules of [`Store`], method by method. `new` gives a new, empty one each time.
///
/// Durability is not among them: no test can see it. See [`reopening`] for what has to be there after a restart.
///
/// # Panics
///
/// When the store breaks a rule. The name of the function that panicked says which.
pub async fn conformance<S: Store>(new: impl AsyncFn() -> S) {
    /// Each on a store of its own.
    macro_rules! check {
        ($($topic:ident::$rule:ident,)*) => {
            $({
                let store = Box::pin(boxed(new())).await;
                Box::pin($topic::$rule(&*store)).await;
            })*
        };
    }
    check! {
        pushes::a_transaction_comes_back_as_it_came,
        pushes::ids_grow_also_when_what_had_them_is_gone,
        pushes::transactions_are_read_in_order_in_pieces,
        pushes::large_bodies_are_read_one_by_one,

        appends::a_key_counts_once,
        appends::an_append_that_is_repeated_adds_nothing,
        appends::a_cursor_moves_with_what_was_appended,
        appends::what_is_dead_from_the_start_is_a_dead_letter,

        scans::an_entry_comes_back_as_it_was_stored,
        scans::entries_come_by_id_whenever_they_were_stored,
        scans::readers_queues_and_lanes_are_told_apart,
        scans::a_long_backlog_is_read_in_pieces,

        settlements::keys_are_remembered,
        settlements::what_is_stored_already_stays_as_it_is,
        settlements::only_what_waits_can_be_done,
        settlements::transactions_go_when_they_are_done,
        settlements::a_settlement_that_is_repeated_with_more_does_only_what_is_new,

        latest::the_newer_takes_the_place_in_whatever_state_the_older_is,
        latest::what_has_to_be_kept_is_joined,
        latest::a_repeated_settlement_joins_nothing_twice,
        latest::a_slot_is_free_again_when_its_entry_is_done,

        letters::a_failed_entry_waits_with_what_is_known_of_it,
        letters::dead_letters_are_listed_in_order_in_pieces,
        letters::a_dead_letter_that_is_retried_waits_under_a_new_id,
        letters::a_dead_letter_that_is_skipped_is_done,
        letters::only_what_waits_can_fail,

        retention::what_is_kept_waits_when_it_is_released,
        retention::payloads_and_keys_go_when_their_time_is_over,
        retention::a_purge_removes_a_bounded_piece,
        retention::of_a_reader_that_is_forgotten_nothing_is_left,
        retention::the_numbers_say_what_is_there,

        side_by_side::methods_that_run_side_by_side_lose_nothing,
    }
}

async fn boxed<S: Store>(new: impl Future<Output = S>) -> Box<dyn Store> {
    Box::new(new.await)
}
