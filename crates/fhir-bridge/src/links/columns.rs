//! All tables with all of their columns, for what goes through each: a test holds them to the schema.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    Number,
    Truth,
}

use Holds::{Number, Text, Truth};

/// Each table with all of its columns.
pub(super) const TABLES: &[(&str, &[(&str, Holds)])] = &[
    ("room", &[("resource", Text), ("room_id", Text)]),
    (
        "event",
        &[
            ("event_id", Text),
            ("resource", Text),
            ("part", Number),
            ("fingerprint", Text),
        ],
    ),
    ("account", &[("user_id", Text), ("resource", Text)]),
    (
        "message",
        &[
            ("seq", Number),
            ("resource", Text),
            ("room_id", Text),
            ("sender", Text),
            ("from_matrix", Truth),
            ("state", Text),
            ("fingerprint", Text),
            ("pending", Text),
            ("changed_at", Number),
            ("changed_in_record", Truth),
            ("correction", Text),
            ("linked_at", Number),
        ],
    ),
    (
        "edit",
        &[
            ("event_id", Text),
            ("resource", Text),
            ("edits", Text),
            ("rowid", Number),
        ],
    ),
    ("file", &[("file", Text), ("resource", Text)]),
    (
        "task",
        &[
            ("task", Text),
            ("message", Text),
            ("owner", Text),
            ("completed", Truth),
        ],
    ),
    (
        "reading",
        &[("room_id", Text), ("reader", Text), ("seq", Number)],
    ),
    (
        "placed",
        &[
            ("resource", Text),
            ("user_id", Text),
            ("person", Text),
            ("joined", Truth),
        ],
    ),
    ("former", &[("team", Text), ("person", Text)]),
    ("depends", &[("resource", Text), ("on_what", Text)]),
    ("due", &[("resource", Text), ("at_ms", Number)]),
    ("phase", &[("resource", Text), ("phase", Text)]),
    (
        "identity",
        &[("person", Text), ("user_id", Text), ("proof", Text)],
    ),
    ("retired", &[("person", Text), ("ghosts", Number)]),
    (
        "guest_room",
        &[("room_id", Text), ("pseudonym", Text), ("client", Text)],
    ),
    (
        "hung",
        &[("room_id", Text), ("team", Text), ("user_id", Text)],
    ),
    ("first_message", &[("resource", Text), ("event_id", Text)]),
    (
        "arrival",
        &[("room_id", Text), ("came_ms", Number), ("tie_ms", Number)],
    ),
    (
        "unlinked",
        &[("resource", Text), ("room_id", Text), ("at_ms", Number)],
    ),
    (
        "leaving",
        &[
            ("room_id", Text),
            ("resource", Text),
            ("keep", Truth),
            ("at_ms", Number),
        ],
    ),
    (
        "look_back",
        &[("room_id", Text), ("due_ms", Number), ("look", Number)],
    ),
    // What says that a bridge has worked with these tables.
    ("secret", &[("name", Text), ("value", Text)]),
];
