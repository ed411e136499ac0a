//! Markdown, read into what we know of it.

use pulldown_cmark::{Event, Options, Parser, Tag as Mark, TagEnd};

use super::{Node, Tag};

/// How deep elements may lie in each other; what is deeper is not marked.
const DEEPEST: usize = 32;

pub(super) fn parse(markdown: &str) -> Vec<Node> {
    let mut open: Vec<(Option<Tag>, Vec<Node>)> = vec![(None, Vec::new())];
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Start(mark) => {
                let tag = (open.len() < DEEPEST).then(|| tag(&mark)).flatten();
                open.push((tag, Vec::new()));
            }
            Event::End(end) => {
                let Some((tag, mut inner)) = open.pop() else {
                    break;
                };
                if end == TagEnd::CodeBlock {
                    trim_end(&mut inner);
                }
                let Some((_, outer)) = open.last_mut() else {
                    return inner;
                };
                match tag {
                    Some(tag) if !inner.is_empty() => outer.push(Node::Element(tag, inner)),
                    _ => outer.extend(inner),
                }
            }
            other => {
                let node = match other {
                    // HTML in Markdown is shown as it was written.
                    Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                        Node::Text(text.into_string())
                    }
                    Event::Code(text) => {
                        Node::Element(Tag::Code, vec![Node::Text(text.into_string())])
                    }
                    Event::SoftBreak => Node::Text("\n".to_owned()),
                    Event::HardBreak | Event::Rule => Node::Break,
                    _ => continue,
                };
                if let Some((_, inner)) = open.last_mut() {
                    match (inner.last_mut(), node) {
                        (Some(Node::Text(before)), Node::Text(text)) => before.push_str(&text),
                        (_, node) => inner.push(node),
                    }
                }
            }
        }
    }
    open.into_iter().flat_map(|(_, inner)| inner).collect()
}

fn trim_end(inner: &mut [Node]) {
    if let Some(Node::Text(text)) = inner.last_mut() {
        text.truncate(text.trim_end_matches('\n').len());
    }
}

fn tag(mark: &Mark<'_>) -> Option<Tag> {
    Some(match mark {
        Mark::Paragraph => Tag::Paragraph,
        Mark::Heading { level, .. } => Tag::Heading(*level as u8),
        Mark::BlockQuote(_) => Tag::Quote,
        Mark::CodeBlock(_) => Tag::Preformatted,
        Mark::List(None) => Tag::Bullets,
        Mark::List(Some(_)) => Tag::Numbers,
        Mark::Item => Tag::Item,
        Mark::Emphasis => Tag::Emphasis,
        Mark::Strong => Tag::Strong,
        Mark::Strikethrough => Tag::Struck,
        Mark::Link { dest_url, .. } => return Tag::link(dest_url),
        _ => return None,
    })
}
