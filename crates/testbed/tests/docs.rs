//! Links lead somewhere, the book lists all its pages, and the messages that it explains are ones that the bridge says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Folders that hold no pages of ours, or pages that something else checks.
const LEFT_OUT: [&str; 4] = [
    "target",
    ".git",
    "docs/book",
    // Parts of Rust's documentation: rustdoc reads their links.
    "crates/appservice/docs",
];
const BOOK: &str = "docs/src";

/// What is looked at on a page.
#[derive(Default)]
struct Page {
    links: Vec<String>,
    /// By which its headings are reached.
    anchors: BTreeSet<String>,
    /// Headings with the code in them.
    headings: Vec<(String, Vec<String>)>,
}

#[test]
fn each_link_within_the_repository_leads_to_something_that_is_there() {
    let pages = pages();
    assert!(pages.len() > 15, "only {} pages were found", pages.len());
    let mut wrong = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                plain(&path.parent().unwrap().join(file))
            };
            let is_there = repository().join(&target).exists();
            // The book is read apart from the repository: only its own pages go with it.
            let in_book = !path.starts_with(BOOK) || target.starts_with(BOOK);
            let reached = anchor.is_empty()
                || pages
                    .get(&target)
                    .is_some_and(|page| page.anchors.contains(anchor));
            if !(is_there && in_book && reached) {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn the_book_lists_each_of_its_pages_once() {
    let pages = pages();
    let summary = Path::new(BOOK).join("SUMMARY.md");
    let mut listed: Vec<PathBuf> = pages[&summary]
        .links
        .iter()
        .map(|link| plain(&Path::new(BOOK).join(link)))
        .collect();
    listed.sort();
    let there: Vec<PathBuf> = pages
        .keys()
        .filter(|path| path.starts_with(BOOK) && **path != summary)
        .cloned()
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn each_message_that_is_explained_is_said_by_the_program() {
    let mut sources = String::new();
    for krate in ["appservice", "fhir", "fhir-bridge"] {
        let folder = repository().join("crates").join(krate).join("src");
        for file in files(&folder, "rs") {
            sources.push_str(&fs::read_to_string(file).unwrap());
        }
    }
    let page = &pages()[&Path::new(BOOK).join("troubleshooting.md")];
    let mut messages = 0;
    for (heading, codes) in &page.headings {
        for message in codes {
            // What differs from time to time is written `…`.
            for part in message
                .split('…')
                .map(str::trim)
                .filter(|part| !part.is_empty())
            {
                assert!(sources.contains(part), "{heading}: nobody says `{part}`");
                messages += 1;
            }
        }
    }
    assert!(messages > 15, "only {messages} were found");
}

/// All pages, by their path in the repository.
fn pages() -> BTreeMap<PathBuf, Page> {
    let root = repository();
    files(&root, "md")
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file.strip_prefix(&root).unwrap().to_owned(), read(&text))
        })
        .collect()
}

fn read(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<(String, Vec<String>)> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(Default::default()),
            Event::End(TagEnd::Heading(_)) => {
                let (text, codes) = heading.take().unwrap_or_default();
                let slug = slug(&text);
                let mut anchor = slug.clone();
                let mut number = 0;
                while !page.anchors.insert(anchor.clone()) {
                    number += 1;
                    anchor = format!("{slug}-{number}");
                }
                page.headings.push((text, codes));
            }
            Event::Text(words) => {
                if let Some((text, _)) = &mut heading {
                    text.push_str(&words);
                }
            }
            Event::Code(words) => {
                if let Some((text, codes)) = &mut heading {
                    text.push_str(&words);
                    codes.push(words.into_string());
                }
            }
            _ => {}
        }
    }
    page
}

/// What mdBook and GitHub make of a heading.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|one| match one {
            ' ' => Some('-'),
            '-' | '_' => Some(one),
            _ => one.is_alphanumeric().then_some(one),
        })
        .collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(repository()).unwrap();
            if LEFT_OUT.iter().any(|left_out| inside.starts_with(left_out)) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|its| its == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
