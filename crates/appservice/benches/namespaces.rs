//! Whose is this id? Asked for the sender of each message, so that a bot doesn't talk to itself.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a bench may stop at once, as a test may"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use matrix_appservice::registration::{Namespace, NamespaceList};

const GHOST: &str = "@_slack_T0G9PQBBK_U024BE7LH:example.org";
const PERSON: &str = "@anna.vanderberg:example.org";

fn list(patterns: &[&str]) -> NamespaceList {
    let namespaces = patterns
        .iter()
        .map(|pattern| Namespace::parse(true, pattern));
    namespaces
        .map(|namespace| namespace.expect("a pattern"))
        .collect()
}

fn namespaces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("namespaces");
    let usual = list(&[r"@_slack_.*:example\.org"]);
    let many: Vec<String> = (0..20).map(|at| format!("@_bridge{at}_.*")).collect();
    let many = many.iter().map(String::as_str).chain([r"@_slack_.*"]);
    let many = list(&many.collect::<Vec<_>>());
    for (name, list, id) in [
        ("a ghost", &usual, GHOST),
        ("a person", &usual, PERSON),
        ("a ghost, last of 21", &many, GHOST),
        ("a person, none of 21", &many, PERSON),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| list.matches_exclusively(black_box(id)));
        });
    }
    group.bench_function("parse a pattern", |bench| {
        bench.iter(|| Namespace::parse(true, black_box(r"@_slack_.*:example\.org")));
    });
    group.finish();
}

criterion_group!(benches, namespaces);
criterion_main!(benches);
