//! The tables, within 80 columns.

use crate::{
    aims::{Aim, Rounds},
    backlog::Backlog,
    behaviour::Check,
    load::Round,
    rooms::Rooms,
    subject::Kind,
};

fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

/// Figures of each subject; in brackets the multiple of bare axum in the same round.
pub(crate) fn load(rounds: &Rounds<'_>, kinds: &[Kind]) {
    println!("\nmedians; in brackets the multiple of bare axum in the same round");
    println!("                     ack p50, µs, events a transaction   CPU s   idle  start");
    println!("                          1         10          100     1,000 e    MB     ms");
    for kind in kinds {
        print!("{:<19}", kind.name());
        for at in 0..3 {
            let p50 = |round: &Round| Some(round.acks.get(at)?.p50_us);
            let multiple = rounds.ratio(*kind, Kind::Bare, p50);
            let multiple = multiple.map_or_else(String::new, |ratio| format!(" ({ratio:.1})"));
            print!("{:>12}", cell(rounds.median(*kind, p50), 0) + &multiple);
        }
        let cpu = rounds.median(*kind, |round| Some(round.acks.first()?.cpu));
        let idle = rounds.median(*kind, |round| Some(round.idle_mb));
        let start = rounds.median(*kind, |round| Some(round.start_ms));
        println!(
            "{:>9}{:>8}{:>7}",
            cell(cpu, 3),
            cell(idle, 1),
            cell(start, 0)
        );
    }
    println!("\n                      ack p99, µs    paced    events/s    echoes  paced echo, µs");
    println!("                      1     10    100   p50  100 a trans.      /s     p50    p99");
    for kind in kinds {
        print!("{:<18}", kind.name());
        for at in 0..3 {
            let p99 = |round: &Round| Some(round.acks.get(at)?.p99_us);
            print!("{:>6}", cell(rounds.median(*kind, p99), 0));
        }
        let paced = rounds.median(*kind, |round| Some(round.paced_ack_us));
        print!("{:>6}", cell(paced, 0));
        let rate = rounds.median(*kind, |round| Some(round.acks.get(2)?.events_a_second));
        let echoes = rounds.median(*kind, |round| round.echoes_a_second);
        let p50 = rounds.median(*kind, |round| round.paced_p50_us);
        let p99 = rounds.median(*kind, |round| round.paced_p99_us);
        let (rate, echoes) = (cell(rate, 0), cell(echoes, 0));
        println!(
            "{rate:>12}{echoes:>10}{:>8}{:>7}",
            cell(p50, 0),
            cell(p99, 0)
        );
    }
}

pub(crate) fn rooms(rooms: &Rooms) {
    println!(
        "\nthe SDK, ack p50: one room {:.0} µs, 10,000 rooms {:.0} µs",
        rooms.one_p50_us, rooms.many_p50_us
    );
    println!(
        "resident before: {:.1} MB, after all were idle again: {:.1} MB",
        rooms.before_mb, rooms.after_mb
    );
}

pub(crate) fn backlogs(backlogs: &[Backlog]) {
    println!("\na stuck handler, then kill -9 and a start with what waits");
    println!("  waiting   memory, MB: then   at most   start, ms   at most, MB   drained/s");
    for backlog in backlogs {
        println!(
            "{:>9}{:>19.1}{:>10.1}{:>12.0}{:>14.1}{:>12}",
            backlog.entries,
            backlog.waiting_mb,
            backlog.most_mb,
            backlog.start_ms,
            backlog.start_most_mb,
            cell(backlog.drained_a_second, 0),
        );
    }
}

pub(crate) fn behaviour(checks: &[Check]) {
    println!("\nbehaviour");
    for check in checks {
        match &check.wrong {
            None => println!("  right  {}", check.name),
            Some(wrong) => println!("  WRONG  {}\n         {wrong}", check.name),
        }
    }
}

pub(crate) fn aims(aims: &[Aim]) {
    println!("\naims");
    for aim in aims {
        let (sign, decimals) = match (aim.at_least, aim.unit) {
            (_, "MB" | "ms" | "right") => (if aim.at_least { "≥" } else { "≤" }, 0),
            (true, _) => ("≥", 2),
            (false, _) => ("≤", 2),
        };
        println!(
            "  {:<12} {:<30}{:>8.decimals$} {} (aim: {sign} {:.decimals$})",
            if aim.is_reached() {
                "reached"
            } else {
                "NOT REACHED"
            },
            aim.name,
            aim.value,
            aim.unit,
            aim.bound,
        );
    }
}
