//! The load bench: plays the homeserver against the SDK and against what it is compared with.
//!
//! `cargo xtask bench` builds what it needs and runs it; `README.md` says how to read what it prints.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people at a terminal"
)]

mod aims;
mod backlog;
mod behaviour;
mod databases;
mod events;
mod figures;
mod homeserver;
mod load;
mod push;
mod rooms;
mod subject;
mod table;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use serde::Serialize;

use self::{
    aims::{Aim, Rounds},
    backlog::Backlog,
    behaviour::Check,
    databases::Databases,
    homeserver::Homeserver,
    load::{Round, Size},
    rooms::Rooms,
    subject::{Kind, Programs},
};

/// Pushes transactions as a homeserver does, against the SDK and what it is compared with.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    /// Less of everything: a minute instead of ten. For a look, not for a report.
    #[arg(long)]
    quick: bool,
    /// How many rounds; each subject runs once in each. [default: 5, with --quick 3]
    #[arg(long)]
    rounds: Option<usize>,
    /// Write all figures here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Where the subjects keep their files: on the disk that is to be measured. [default: a folder in the target folder]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Also measure the SDK with its journal in a PostgreSQL that is started for this, with fsync.
    #[arg(long)]
    postgres: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Load,
    Rooms,
    Behaviour,
    Backlog,
}

#[derive(Default, Serialize)]
struct Report {
    rounds: Vec<Vec<Round>>,
    rooms: Option<Rooms>,
    behaviour: Vec<Check>,
    backlogs: Vec<Backlog>,
    aims: Vec<Aim>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let here = std::env::current_exe()?;
    let here = here.parent().context("no folder")?;
    let programs = Programs {
        subject: here.join("bench-subject"),
        sdk: here.join("examples/load_bench"),
        database: None,
    };
    let folder = cli
        .folder
        .clone()
        .unwrap_or_else(|| here.join("bench-data"));
    fs::create_dir_all(&folder)?;
    let folder = tempfile::tempdir_in(folder)?;
    let postgres = cli.postgres.then(Databases::start).transpose()?;
    let bench = Bench {
        postgres,
        homeserver: Homeserver::start()?,
        folder: folder.path().join("subject"),
        programs,
        cli,
    };
    let report = bench.run()?;
    table::aims(&report.aims);
    if let Some(file) = &bench.cli.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

struct Bench {
    cli: Cli,
    postgres: Option<Databases>,
    programs: Programs,
    folder: PathBuf,
    homeserver: Homeserver,
}

impl Bench {
    fn run(&self) -> Result<Report> {
        let mut report = Report::default();
        if self.wants(Part::Load) {
            report.rounds = self.load()?;
            let rounds = Rounds(&report.rounds);
            table::load(&rounds, &self.kinds());
            report.aims.extend(aims::of_load(&rounds));
        }
        if self.wants(Part::Rooms) {
            let (rounds, transactions) = if self.cli.quick { (3, 1000) } else { (5, 4000) };
            let (programs, folder) = (&self.programs, &self.folder);
            let rooms = rooms::run(programs, folder, &self.homeserver, rounds, transactions)?;
            table::rooms(&rooms);
            report.aims.push(aims::of_rooms(&rooms));
            report.rooms = Some(rooms);
        }
        if self.wants(Part::Backlog) {
            let most = if self.cli.quick { 100_000 } else { 1_000_000 };
            for entries in [0, 10_000, most] {
                let (programs, folder) = (&self.programs, &self.folder);
                let backlog = backlog::run(programs, folder, &self.homeserver, entries)?;
                report.aims.push(aims::of_backlog(&backlog));
                report.backlogs.push(backlog);
            }
            table::backlogs(&report.backlogs);
        }
        if self.wants(Part::Behaviour) {
            report.behaviour = behaviour::run(&self.programs, &self.folder, &self.homeserver)?;
            table::behaviour(&report.behaviour);
            report.aims.push(aims::of_behaviour(&report.behaviour));
        }
        Ok(report)
    }

    fn wants(&self, part: Part) -> bool {
        self.cli.only.is_empty() || self.cli.only.contains(&part)
    }

    fn kinds(&self) -> Vec<Kind> {
        let more = self.postgres.is_some().then_some(Kind::Postgres);
        Kind::USUAL.into_iter().chain(more).collect()
    }

    /// In turns, and each round begins with another, so that what else the machine does hits all alike.
    fn load(&self) -> Result<Vec<Vec<Round>>> {
        let (rounds, size) = if self.cli.quick {
            (3, Size::QUICK)
        } else {
            (5, Size::FULL)
        };
        let rounds = self.cli.rounds.unwrap_or(rounds);
        let kinds = self.kinds();
        let mut all = Vec::new();
        for round in 0..rounds {
            let mut done = Vec::new();
            for at in 0..kinds.len() {
                let kind = kinds[(round + at) % kinds.len()];
                eprintln!("round {} of {rounds}: {}", round + 1, kind.name());
                let mut programs = self.programs.clone();
                if let (Kind::Postgres, Some(postgres)) = (kind, &self.postgres) {
                    programs.database = Some(postgres.fresh()?);
                }
                let folder = &self.folder;
                done.push(
                    load::run(&programs, kind, folder, &self.homeserver, size)
                        .with_context(|| kind.name())?,
                );
                fs::remove_dir_all(folder)?;
            }
            all.push(done);
        }
        Ok(all)
    }
}
