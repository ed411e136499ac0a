//! From nothing to a bridge in production, in an hour.
//!
//! 1. [The registration](registration): how the homeserver gets to know you.
//! 2. [A first bridge](first_bridge): a bot that answers.
//! 3. [Ghosts and portals](ghosts_and_portals): another network's people and channels.
//! 4. [An admin room](commands): what people type.
//! 5. [Testing](testing): bad days, on demand.
//! 6. [Going to production](production): what to set, to watch, and to do when things break.
//! 7. [What delivery means](delivery): the guarantees and their edges.
//!
//! There is nothing in these modules but text.

pub mod registration {
    #![doc = include_str!("../docs/guide/registration.md")]
}

pub mod first_bridge {
    #![doc = include_str!("../docs/guide/first_bridge.md")]
}

pub mod ghosts_and_portals {
    #![doc = include_str!("../docs/guide/ghosts_and_portals.md")]
}

pub mod commands {
    #![cfg_attr(all(feature = "commands", feature = "testing"), doc = include_str!("../docs/guide/commands.md"))]
    #![cfg_attr(
        not(all(feature = "commands", feature = "testing")),
        doc = "# 4. An admin room\n\nThis page comes with the features `commands` and `testing`."
    )]
}

pub mod testing {
    #![cfg_attr(feature = "testing", doc = include_str!("../docs/guide/testing.md"))]
    #![cfg_attr(
        not(feature = "testing"),
        doc = "# 5. Testing\n\nThis page comes with the feature `testing`."
    )]
}

pub mod production {
    #![doc = include_str!("../docs/guide/production.md")]
}

pub mod delivery {
    #![doc = include_str!("../docs/guide/delivery.md")]
}
