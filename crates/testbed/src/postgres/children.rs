//! The processes that serve the clients: each has a group of its own, so that the server's does not name them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::poll;

/// How long they may take to be gone after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(30);

/// The children of the process `parent`.
pub(super) fn of(parent: u32) -> Vec<Pid> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let pairs = match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        // A container may lack `ps`.
        _ => by_proc(),
    };
    let parent = parent.to_string();
    pairs
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.next()?.parse().ok()?;
            (words.next()? == parent).then(|| Pid::from_raw(pid))?
        })
        .collect()
}

/// What `ps` would say, by Linux's `/proc/<pid>/stat`: `7 (name) S 1 …`.
fn by_proc() -> String {
    let Ok(entries) = fs::read_dir("/proc") else {
        return String::new();
    };
    let lines = entries.filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (pid, _) = stat.split_once(' ')?;
        // The name may hold anything.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
        Some(format!("{pid} {parent}\n"))
    });
    lines.collect()
}

/// Kills them; returns when they are gone.
pub(super) async fn kill(children: &[Pid]) {
    for child in children {
        // It can only fail when it has ended already.
        let _ = kill_process(*child, Signal::KILL);
    }
    let gone = poll::until(PATIENCE, async || {
        Ok((!children.iter().any(|child| is_alive(*child))).then_some(()))
    });
    if !matches!(gone.await, Ok(Some(()))) {
        tracing::error!("a process of PostgreSQL is still there after SIGKILL");
    }
}

/// Whether it can still do anything: who is dead and not fetched by its parent yet can't.
fn is_alive(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    match stat {
        Ok(stat) => !stat.contains(") Z "),
        Err(_) => !cfg!(target_os = "linux") && test_kill_process(process).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn children_are_found_and_killed() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(of(std::process::id()).contains(&pid));
        let by_proc = by_proc();
        let expected = format!("{} {}\n", child.id(), std::process::id());
        assert!(!cfg!(target_os = "linux") || by_proc.contains(&expected));
        kill(&[pid]).await;
        assert!(!is_alive(pid));
        child.wait().unwrap();
    }
}
