//! HTML, read into what we know of it.

use super::{Node, Tag};

/// How deep elements may lie in each other; what is deeper is not marked.
const DEEPEST: usize = 32;
/// What is left out with all that stands in it.
const DROPPED: [&str; 10] = [
    "script", "style", "mx-reply", "head", "title", "template", "iframe", "object", "svg", "math",
];

struct Open {
    name: String,
    /// `None`: it is not carried over, but what stands in it is.
    tag: Option<Tag>,
    inner: Vec<Node>,
}

pub(super) fn parse(html: &str) -> Vec<Node> {
    let mut tree = Tree {
        root: Vec::new(),
        open: Vec::new(),
    };
    let mut rest = html;
    while !rest.is_empty() {
        let Some(at) = rest.find('<') else {
            tree.text(&decode(rest));
            break;
        };
        tree.text(&decode(&rest[..at]));
        rest = &rest[at..];
        rest = match read_tag(rest) {
            Some((Piece::Comment, after)) => after,
            Some((Piece::End(name), after)) => {
                tree.close(&name);
                after
            }
            Some((Piece::Start(name, href), after)) => {
                if DROPPED.contains(&name.as_str()) {
                    skip(after, &name)
                } else {
                    tree.begin(name, href.as_deref());
                    after
                }
            }
            None => {
                tree.text("<");
                &rest[1..]
            }
        };
    }
    while let Some(last) = tree.open.last() {
        let name = last.name.clone();
        tree.close(&name);
    }
    tree.root
}

enum Piece {
    Comment,
    Start(String, Option<String>),
    End(String),
}

/// Reads what begins with `<`. `None`: it is only a character.
fn read_tag(text: &str) -> Option<(Piece, &str)> {
    if let Some(comment) = text.strip_prefix("<!--") {
        let after = comment.find("-->").map_or("", |end| &comment[end + 3..]);
        return Some((Piece::Comment, after));
    }
    let inner = &text[1..];
    if inner.starts_with('!') || inner.starts_with('?') {
        let after = inner.find('>').map_or("", |end| &inner[end + 1..]);
        return Some((Piece::Comment, after));
    }
    let (is_end, inner) = match inner.strip_prefix('/') {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let length = inner
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .unwrap_or(inner.len());
    let name = inner[..length].to_ascii_lowercase();
    let (href, after) = attributes(&inner[length..]);
    let piece = if is_end {
        Piece::End(name)
    } else {
        Piece::Start(name, href)
    };
    Some((piece, after))
}

/// Reads up to the tag's end; the value of `href`, and what comes behind.
fn attributes(text: &str) -> (Option<String>, &str) {
    let mut href = None;
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() {
            return (href, "");
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (href, after);
        }
        let length = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/'))
            .unwrap_or(rest.len());
        // An attribute has a name of at least one character, whatever it is.
        let length = length.max(rest.chars().next().map_or(0, char::len_utf8));
        let name = &rest[..length];
        rest = rest[length..].trim_start();
        let Some(value) = rest.strip_prefix('=') else {
            continue;
        };
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = if let Some(quote) = quote {
            let value = &value[1..];
            match value.find(quote) {
                Some(end) => (&value[..end], &value[end + 1..]),
                None => (value, ""),
            }
        } else {
            let end = value
                .find(|c: char| c.is_whitespace() || c == '>')
                .unwrap_or(value.len());
            (&value[..end], &value[end..])
        };
        if name.eq_ignore_ascii_case("href") && href.is_none() {
            href = Some(decode(value));
        }
        rest = after;
    }
}

/// What comes behind the end of an element that is left out.
fn skip<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        rest = &rest[at..];
        match read_tag(rest) {
            Some((Piece::End(end), after)) if end == name => return after,
            _ => rest = &rest[2..],
        }
    }
    ""
}

struct Tree {
    root: Vec<Node>,
    open: Vec<Open>,
}

impl Tree {
    fn push(&mut self, node: Node) {
        let place = self
            .open
            .last_mut()
            .map_or(&mut self.root, |open| &mut open.inner);
        match (place.last_mut(), node) {
            (Some(Node::Text(before)), Node::Text(text)) => before.push_str(&text),
            (_, node) => place.push(node),
        }
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.push(Node::Text(text.to_owned()));
        }
    }

    fn begin(&mut self, name: String, href: Option<&str>) {
        if name == "br" || name == "hr" {
            self.push(Node::Break);
            return;
        }
        let is_void = matches!(
            name.as_str(),
            "img"
                | "input"
                | "link"
                | "meta"
                | "col"
                | "area"
                | "base"
                | "embed"
                | "wbr"
                | "source"
        );
        if is_void || self.open.len() >= DEEPEST {
            return;
        }
        // These end where the next one begins.
        if (name == "li" || name == "p") && self.open.last().is_some_and(|open| open.name == name) {
            self.close(&name);
        }
        let tag = tag(&name, href);
        self.open.push(Open {
            name,
            tag,
            inner: Vec::new(),
        });
    }

    /// Ends the innermost element of this name, and those in it.
    fn close(&mut self, name: &str) {
        let Some(place) = self.open.iter().rposition(|open| open.name == name) else {
            return;
        };
        while self.open.len() > place {
            let Some(open) = self.open.pop() else { return };
            match open.tag {
                Some(tag) if !open.inner.is_empty() => self.push(Node::Element(tag, open.inner)),
                _ => {
                    for node in open.inner {
                        self.push(node);
                    }
                }
            }
        }
    }
}

fn tag(name: &str, href: Option<&str>) -> Option<Tag> {
    Some(match name {
        "b" | "strong" => Tag::Strong,
        "i" | "em" => Tag::Emphasis,
        "u" | "ins" => Tag::Underlined,
        "s" | "del" | "strike" => Tag::Struck,
        "code" | "tt" => Tag::Code,
        "pre" => Tag::Preformatted,
        "a" => return href.and_then(Tag::link),
        "ul" => Tag::Bullets,
        "ol" => Tag::Numbers,
        "li" => Tag::Item,
        "p" => Tag::Paragraph,
        "blockquote" => Tag::Quote,
        "h1" => Tag::Heading(1),
        "h2" => Tag::Heading(2),
        "h3" => Tag::Heading(3),
        "h4" => Tag::Heading(4),
        "h5" => Tag::Heading(5),
        "h6" => Tag::Heading(6),
        _ => return None,
    })
}

/// Undoes the references that people's clients write; others stay as they are.
fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((c, after)) = reference(rest) {
            out.push(c);
            rest = after;
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

fn reference(text: &str) -> Option<(char, &str)> {
    let end = text.bytes().take(12).position(|b| b == b';')?;
    let name = &text[1..end];
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{A0}',
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((c, &text[end + 1..]))
}
