//! Whom PostgreSQL runs as: it refuses to run as root.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::{Signal, geteuid};

use crate::process::Account;

const PASSWD: &str = "/etc/passwd";

/// Nobody in particular where this process is root's, else `None`: ourselves.
///
/// The user has to have a name, or `initdb` refuses it.
pub(super) fn unprivileged() -> Result<Option<Account>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string(PASSWD).with_context(|| format!("cannot read {PASSWD}"))?;
    let account = find(&users).context(
        "PostgreSQL does not run as root, and /etc/passwd has neither `nobody` nor `postgres`; run as another user",
    )?;
    Ok(Some(account))
}

/// What stops PostgreSQL at once but in order: it rolls back what its clients have begun, and does not wait for them.
pub(super) const STOP: Signal = Signal::INT;

fn find(users: &str) -> Option<Account> {
    ["nobody", "postgres"].into_iter().find_map(|name| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some(Account {
            uid: numbers.next()?.ok()?,
            gid: numbers.next()?.ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_preferred_to_a_user_who_may_have_a_server_of_his_own() {
        let postgres = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        let nobody = "nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\n";
        let expected = |uid, gid| Some(Account { uid, gid });
        assert_eq!(find(&[postgres, nobody].concat()), expected(65534, 65533));
        assert_eq!(find(postgres), expected(101, 104));
        assert_eq!(find("root:x:0:0:root:/root:/bin/bash\n"), None);
    }
}
