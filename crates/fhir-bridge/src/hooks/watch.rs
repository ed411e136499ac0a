//! What notifications tell besides that there is something to read: whether some were missed, and whether the server
//! still sends any. Pure: the time comes from the caller.

use std::time::{Duration, Instant};

use fhir::{Notification, NotificationKind, SubscriptionStatus};

/// So many heartbeats may stay out before the server counts as silent.
const HEARTBEATS: u32 = 3;

/// A silence that asking for a new beginning doesn't end is asked about this rarely in the end.
const LONGEST: Duration = Duration::from_hours(1);

/// What is known of one subscription's notifications.
#[derive(Debug)]
pub(super) struct Watch {
    heard: Instant,
    /// The number of the newest event that was told of.
    newest: Option<u64>,
    /// How often in a row a new beginning was asked for.
    restarts: u32,
}

/// What a notification means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// There is, or may be, something to read.
    pub(super) read: bool,
    /// So many notifications did not come.
    pub(super) missed: u64,
    /// The subscription doesn't work any more.
    pub(super) broken: bool,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            newest: None,
            restarts: 0,
        }
    }

    /// A notification came; `None` when its body says nothing about the subscription.
    pub(super) fn heard(&mut self, notification: Option<&Notification>, now: Instant) -> Heard {
        self.heard = now;
        self.restarts = 0;
        let Some(notification) = notification else {
            return Heard {
                read: true,
                ..Heard::default()
            };
        };
        let broken = matches!(
            notification.status,
            Some(SubscriptionStatus::Error | SubscriptionStatus::Off)
        );
        let told = notification.newest_event();
        if notification.kind == NotificationKind::Handshake {
            // The counter begins anew, and what happened meanwhile was told to nobody.
            self.newest = Some(told.unwrap_or(0));
            return Heard {
                read: true,
                missed: 0,
                broken,
            };
        }
        let carried = notification.event_numbers.len() as u64;
        let missed = match (self.newest, told) {
            (Some(newest), Some(told)) => told.saturating_sub(newest).saturating_sub(carried),
            _ => 0,
        };
        // Repeated and late ones have smaller numbers.
        let is_news = self.newest.is_none() || told > self.newest;
        self.newest = self.newest.max(told);
        Heard {
            read: is_news || broken || notification.kind != NotificationKind::Heartbeat,
            missed,
            broken,
        }
    }

    /// Whether a server that promised heartbeats has been silent for too long.
    pub(super) fn is_silent(&self, heartbeat: Option<Duration>, now: Instant) -> bool {
        heartbeat.is_some_and(|heartbeat| {
            let patience = (heartbeat * HEARTBEATS) * 2_u32.saturating_pow(self.restarts.min(10));
            now.duration_since(self.heard) > patience.min(LONGEST.max(heartbeat * HEARTBEATS))
        })
    }

    /// The server was asked to begin again, because it was silent.
    pub(super) fn restarted(&mut self, now: Instant) {
        self.heard = now;
        self.restarts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(kind: NotificationKind, since_start: u64, events: &[u64]) -> Notification {
        Notification {
            kind,
            status: Some(SubscriptionStatus::Active),
            events_since_start: Some(since_start),
            event_numbers: events.to_vec(),
        }
    }

    fn hear(watch: &mut Watch, kind: NotificationKind, since_start: u64, events: &[u64]) -> Heard {
        watch.heard(
            Some(&notification(kind, since_start, events)),
            Instant::now(),
        )
    }

    #[test]
    fn missed_notifications_are_counted_and_everything_else_is_read_too() {
        use NotificationKind::{Event, Handshake, Heartbeat};
        let mut watch = Watch::new(Instant::now());
        for (kind, since_start, events, read, missed) in [
            (Handshake, 0, &[][..], true, 0),
            (Event, 1, &[1], true, 0),
            (Heartbeat, 1, &[], false, 0),
            (Event, 4, &[3, 4], true, 1),
            // Repeated, and reordered: read once more, which does nothing.
            (Event, 4, &[3, 4], true, 0),
            (Event, 2, &[2], true, 0),
            // What a heartbeat knows of and we don't.
            (Heartbeat, 9, &[], true, 5),
            (Heartbeat, 9, &[], false, 0),
            // A new beginning.
            (Handshake, 0, &[], true, 0),
            (Event, 1, &[1], true, 0),
        ] {
            let heard = hear(&mut watch, kind, since_start, events);
            assert_eq!(
                (heard.read, heard.missed),
                (read, missed),
                "{kind:?} {since_start}"
            );
            assert!(!heard.broken);
        }
        assert!(watch.heard(None, Instant::now()).read, "an empty body");
    }

    #[test]
    fn a_subscription_that_reports_its_failure_is_mended() {
        let mut watch = Watch::new(Instant::now());
        let mut failed = notification(NotificationKind::Heartbeat, 1, &[]);
        failed.status = Some(SubscriptionStatus::Error);
        let heard = watch.heard(Some(&failed), Instant::now());
        assert!(heard.read && heard.broken);
    }

    #[test]
    fn silence_counts_only_when_heartbeats_were_promised_and_is_asked_about_ever_less() {
        let start = Instant::now();
        let minute = Duration::from_mins(1);
        let mut watch = Watch::new(start);
        assert!(!watch.is_silent(None, start + 100 * minute));
        assert!(!watch.is_silent(Some(minute), start + 3 * minute));
        let later = start + 4 * minute;
        assert!(watch.is_silent(Some(minute), later));
        watch.restarted(later);
        assert!(!watch.is_silent(Some(minute), later + 4 * minute));
        assert!(watch.is_silent(Some(minute), later + 7 * minute));
        for _ in 0..20 {
            watch.restarted(later);
        }
        assert!(watch.is_silent(Some(minute), later + 61 * minute));
        let _ = watch.heard(None, later);
        assert!(watch.is_silent(Some(minute), later + 4 * minute));
    }
}
