//! What stands in the page. All values are escaped by the macro, whatever they hold.

use matrix_appservice::registration::Token;
use maud::{DOCTYPE, Markup, html};

use super::chart;
use crate::ops::api::{
    dead_letters::{DeadLetter, DeadLetters},
    links::Links,
    status::{Component, HeldLane, Reading, Status},
};

/// What is shown to somebody.
pub(super) struct View {
    pub(super) status: Status,
    /// `None` when they can't be read.
    pub(super) letters: Option<DeadLetters>,
    pub(super) links: Option<Links>,
    /// What was looked for among the links.
    pub(super) find: String,
    /// What was just done.
    pub(super) done: String,
    /// What forms have to show.
    pub(super) secret: Token,
    /// Whether they have logged in, and can log out.
    pub(super) has_login: bool,
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
            }
            (body)
        }
    }
}

/// The form that asks for the token.
pub(super) fn login(wrong: Option<&str>) -> Markup {
    let body = html! {
        body.login {
            main {
                h1 { "fhir-bridge" }
                form method="post" action="/login" {
                    @if let Some(wrong) = wrong { p.wrong role="alert" { (wrong) } }
                    label for="token" { "Token" }
                    input #token type="password" name="token" required autocomplete="current-password"
                        aria-describedby="token-help";
                    p #token-help { "The one in the bridge’s setting " code { "ops.token_file" } "." }
                    button type="submit" { "Log in" }
                }
            }
        }
    };
    document("Log in · fhir-bridge", &body)
}

impl View {
    pub(super) fn whole(&self) -> Markup {
        let body = html! {
            body {
                a.skip href="#main" { "To the content" }
                header {
                    div {
                        h1 { "fhir-bridge" }
                        p { "Version " (self.status.version) ", since " (at(&self.status.started_at)) }
                    }
                    div.actions {
                        a.button href="/" { "Refresh" }
                        @if self.has_login {
                            form method="post" action="/logout" {
                                (self.secret())
                                button type="submit" { "Log out" }
                            }
                        }
                    }
                }
                main #main tabindex="-1" {
                    @if let Some(said) = self.said() { p.said role="status" { (said) } }
                    (self.sections())
                }
                footer {
                    p #live-state role="alert" hidden { "The page is not up to date: the bridge doesn’t answer." }
                }
            }
        };
        document("fhir-bridge", &body)
    }

    /// What the script puts in the place of what was there.
    pub(super) fn sections(&self) -> Markup {
        html! {
            p #summary .(self.mood()) role="status" data-live { (self.summary()) }
            (self.journal())
            (self.flows())
            (self.dead_letters())
            (self.held_lanes())
            (self.components())
            (self.readings())
            (self.federation())
            (self.links())
        }
    }

    fn mood(&self) -> &'static str {
        if self.status.ready { "good" } else { "bad" }
    }

    fn summary(&self) -> String {
        let down = self.status.components.iter().filter(|one| !one.up);
        let down: Vec<&str> = down.map(|one| component_name(one.name)).collect();
        match (self.status.ready, down.as_slice()) {
            (true, _) => "Everything that the bridge needs is there.".to_owned(),
            (false, []) => "Nobody has looked yet how the bridge is.".to_owned(),
            (false, down) => format!("Not as it should be: {}.", down.join(", ")),
        }
    }

    fn said(&self) -> Option<&'static str> {
        match self.done.as_str() {
            "retried" => Some("The dead letter waits again, at the end of its lane."),
            "skipped" => Some("The dead letter is skipped, and what it held is erased."),
            "gone" => Some("That dead letter was not there any more."),
            _ => None,
        }
    }

    fn secret(&self) -> Markup {
        html! { input type="hidden" name="secret" value=(self.secret.expose()); }
    }

    fn journal(&self) -> Markup {
        let number = |name: &str, value: String| html! { div { dt { (name) } dd { (value) } } };
        let body = html! {
            @match &self.status.journal {
                None => p.bad { "The journal can’t be read." },
                Some(journal) => dl.tiles {
                    (number("Waiting", journal.waiting.to_string()))
                    (number("Oldest waits for", journal.oldest_waiting_seconds.map_or_else(|| "–".to_owned(), ago)))
                    (number("Held lanes", journal.held_lanes.to_string()))
                    (number("Dead letters", journal.dead_letters.to_string()))
                    (number("Done", journal.done.to_string()))
                    div { dt { "Last push" } dd {
                        @match &self.status.last_push_at {
                            Some(time) => (at(time)),
                            None => "none since the start",
                        }
                    } }
                },
            }
        };
        section("journal", "Journal", &body)
    }

    fn flows(&self) -> Markup {
        let flows = &self.status.flows;
        let body = html! {
            figure {
                (chart::draw(flows))
                div.scale aria-hidden="true" { span { "an hour ago" } span { "now" } }
                figcaption {
                    p #flow-words { (chart::words(flows)) }
                    ul.legend {
                        li.to-matrix { "Above the line: to Matrix" }
                        li.to-fhir { "Below it: to FHIR" }
                    }
                }
            }
        };
        section("flows", "Messages in the last hour", &body)
    }

    fn dead_letters(&self) -> Markup {
        let heads = ["Entry", "Lane", "Why", "Stored", "Attempts", "What now"];
        let body = html! {
            @match &self.letters {
                None => p.bad { "Dead letters can’t be read." },
                Some(page) if page.dead_letters.is_empty() => p { "There are none." },
                Some(page) => {
                    table {
                        caption { "What could not be handled. Retry what has been mended; skip what nobody needs." }
                        (head(&heads))
                        tbody { @for letter in &page.dead_letters { (self.dead_letter(letter)) } }
                    }
                    @if let Some(next) = page.next {
                        p { a href={ "/?after=" (next) "#dead-letters" } { "More dead letters" } }
                    }
                },
            }
        };
        section("dead-letters", "Dead letters", &body)
    }

    fn dead_letter(&self, letter: &DeadLetter) -> Markup {
        let what = letter.key.clone().unwrap_or_else(|| letter.id.to_string());
        html! {
            tr {
                th scope="row" { span.id { (what) } " " small { (letter.source) } }
                td data-label="Lane" { span.id { (letter.lane) } }
                td data-label="Why" { span { (letter.error) } }
                td data-label="Stored" { (at(&letter.received_at)) }
                td data-label="Attempts" { span { (letter.attempts) } }
                td data-label="What now" { div.actions {
                    form method="post" action={ "/dead-letters/" (letter.id) "/retry" } {
                        (self.secret())
                        button type="submit" aria-label={ "Retry " (what) } { "Retry" }
                    }
                    details {
                        summary aria-label={ "Skip … " (what) } { "Skip …" }
                        form method="post" action={ "/dead-letters/" (letter.id) "/skip" } {
                            (self.secret())
                            p { "What it holds is erased, and it never comes again." }
                            button.danger type="submit" aria-label={ "Skip for good " (what) } { "Skip for good" }
                        }
                    }
                } }
            }
        }
    }

    fn held_lanes(&self) -> Markup {
        let row = |held: &HeldLane| {
            html! {
                tr {
                    th scope="row" { span.id { (held.lane) } " " small { (held.source) } }
                    td data-label="Why" { span { (held.error) } }
                    td data-label="Stored" { (at(&held.received_at)) }
                    td data-label="Attempts" { span { (held.attempts) } }
                    td data-label="Next try" { span {
                        @match held.next_try_seconds { 0 => "now", seconds => { "in " (ago(seconds)) } }
                    } }
                }
            }
        };
        let body = html! {
            @if self.status.held_lanes.is_empty() { p { "There are none." } } @else {
                table {
                    caption { "Lanes that wait because their oldest entry has failed. They go on by themselves." }
                    (head(&["Lane", "Why", "Stored", "Attempts", "Next try"]))
                    tbody { @for held in &self.status.held_lanes { (row(held)) } }
                }
            }
        };
        section("held-lanes", "Held lanes", &body)
    }

    fn components(&self) -> Markup {
        let row = |one: &Component| {
            let (mood, state) = if one.up {
                ("good", "up")
            } else {
                ("bad", "down")
            };
            html! {
                tr {
                    th scope="row" { (component_name(one.name)) }
                    td data-label="State" { strong .(mood) { (state) } }
                    td data-label="Since" { (at(&one.since)) }
                    td data-label="Problem" { span { (one.problem.as_deref().unwrap_or("none")) } }
                }
            }
        };
        let body = html! {
            table {
                caption { "What the bridge needs, as it was found at the last look." }
                (head(&["Component", "State", "Since", "Problem"]))
                tbody { @for one in &self.status.components { (row(one)) } }
            }
        };
        section("components", "Health", &body)
    }

    fn readings(&self) -> Markup {
        let row = |one: &Reading| {
            html! {
                tr {
                    th scope="row" {
                        (one.resource_type)
                        @if let Some(server) = &one.server { " " small { (server) } }
                    }
                    td data-label="State" { span {
                        (one.state.unwrap_or("unknown"))
                        @if let Some(done) = one.imported { ", " (done) " read" }
                    } }
                    td data-label="Read" { span {
                        @match one.read_seconds { Some(seconds) => { (ago(seconds)) " ago" }, None => "not since the start" }
                    } }
                    td data-label="Newest" {
                        @match &one.position { Some(time) => (at(time)), None => span { "none" } }
                    }
                }
            }
        };
        let body = html! {
            table {
                caption { "How far the changes on the FHIR servers are read." }
                (head(&["Type", "State", "Read", "Newest"]))
                tbody { @for one in &self.status.fhir { (row(one)) } }
            }
        };
        section("fhir", "FHIR", &body)
    }

    fn federation(&self) -> Markup {
        let federation = &self.status.federation;
        let body = html! {
            p {
                @if federation.mode == "closed" {
                    "Closed: only those may take part who are allowed (" (federation.allowed) ") or on the list."
                } @else { "Open: everybody may take part." }
                " Denied: " (federation.denied) "."
            }
            @if let Some(list) = &federation.list {
                p {
                    "The list, from a " (list.source) ": "
                    @match list.homeservers { Some(count) => { (count) " homeservers" }, None => "there has never been one" }
                    @if let Some(seconds) = list.read_seconds { ", read " (ago(seconds)) " ago" }
                    "."
                }
            }
        };
        section("federation", "Federation", &body)
    }

    fn links(&self) -> Markup {
        let body = html! {
            form.find method="get" action="/#links" role="search" {
                label for="find" { "Resource or room" }
                input #find name="find" value=(self.find) placeholder="CareTeam/1" autocomplete="off" spellcheck="false";
                button type="submit" { "Find" }
            }
            @match &self.links {
                None => p.bad { "The links can’t be read." },
                Some(page) if page.links.is_empty() => p { "There are none." },
                Some(page) => {
                    table {
                        caption { "Which resource has which room." }
                        (head(&["Resource", "Room"]))
                        tbody { @for link in &page.links {
                            tr {
                                th scope="row" {
                                    span.id { (link.resource) }
                                    @if let Some(server) = &link.server { " " small { (server) } }
                                }
                                td data-label="Room" { span.id { (link.room) } }
                            }
                        } }
                    }
                    @if let Some(next) = &page.next {
                        p { a href={ "/?links_after=" (encoded(next)) "#links" } { "More links" } }
                    }
                },
            }
        };
        section("links", "Links", &body)
    }
}

fn section(id: &str, title: &str, body: &Markup) -> Markup {
    html! {
        section #(id) aria-labelledby={ (id) "-title" } data-live {
            h2 #{ (id) "-title" } { (title) }
            (body)
        }
    }
}

fn head(names: &[&str]) -> Markup {
    html! { thead { tr { @for name in names { th scope="col" { (name) } } } } }
}

/// What components are called for people.
fn component_name(name: &str) -> &str {
    match name {
        "database" => "Database",
        "journal" => "Journal, in time",
        "homeserver" => "Homeserver",
        "homeserverPushes" => "Homeserver reaches us",
        "fhirServer" => "FHIR server",
        "federationList" => "Federation list",
        other => other,
    }
}

/// A time, to the second.
fn at(time: &str) -> Markup {
    let short = time.split(['.', 'Z']).next().unwrap_or(time);
    html! { time datetime=(time) { (short.replace('T', " ")) " UTC" } }
}

/// For how long something is so, roughly.
fn ago(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
