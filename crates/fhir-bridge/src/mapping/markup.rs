//! Text with markup: bold, italic, underlined, struck out, code, links, lists, headings, quotes. Whatever
//! else stands in a stranger's HTML is left out; its text stays.
//!
//! What comes in is read into a tree of what we know, and only that tree is written: nothing that we don't
//! know can come through, and what we write is well-formed, as HTML and as XHTML.

mod html;
mod markdown;

/// A piece of text with markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Text as it is read.
    Text(String),
    /// A line break.
    Break,
    /// Something with markup.
    Element(Tag, Vec<Node>),
}

/// The markup that is carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Bold.
    Strong,
    /// Italic.
    Emphasis,
    /// Underlined.
    Underlined,
    /// Struck out.
    Struck,
    /// Program text in a line.
    Code,
    /// Program text in lines of its own.
    Preformatted,
    /// A link to a web page or a mail address.
    Link(String),
    /// A list.
    Bullets,
    /// A list with numbers.
    Numbers,
    /// An item of a list.
    Item,
    /// A paragraph.
    Paragraph,
    /// What somebody else said.
    Quote,
    /// A heading, of the levels 1 to 6.
    Heading(u8),
}

impl Tag {
    fn name(&self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Emphasis => "em",
            Self::Underlined => "u",
            Self::Struck => "del",
            Self::Code => "code",
            Self::Preformatted => "pre",
            Self::Link(_) => "a",
            Self::Bullets => "ul",
            Self::Numbers => "ol",
            Self::Item => "li",
            Self::Paragraph => "p",
            Self::Quote => "blockquote",
            Self::Heading(1) => "h1",
            Self::Heading(2) => "h2",
            Self::Heading(3) => "h3",
            Self::Heading(4) => "h4",
            Self::Heading(5) => "h5",
            Self::Heading(_) => "h6",
        }
    }

    /// A link, where its address is one that people may be sent to.
    fn link(address: &str) -> Option<Self> {
        let address = address.trim();
        let (scheme, rest) = address.split_once(':')?;
        let is_known = ["https", "http", "mailto", "matrix"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let is_clean = !rest.is_empty()
            && address
                .chars()
                .all(|c| !c.is_control() && !c.is_whitespace() && !is_direction(c));
        (is_known && is_clean).then(|| Self::Link(address.to_owned()))
    }
}

/// Characters that turn the direction of what follows, so that an address reads as another one.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' | '\u{61C}')
}

/// Reads HTML or XHTML, however odd.
#[must_use]
pub fn from_html(html: &str) -> Vec<Node> {
    html::parse(html)
}

/// Reads Markdown.
#[must_use]
pub fn from_markdown(markdown: &str) -> Vec<Node> {
    markdown::parse(markdown)
}

/// Whether there is any markup, rather than lines and paragraphs alone.
#[must_use]
pub fn is_marked(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match node {
        Node::Element(Tag::Paragraph, inner) => is_marked(inner),
        Node::Element(..) => true,
        Node::Text(_) | Node::Break => false,
    })
}

/// As the `formatted_body` of a Matrix message.
#[must_use]
pub fn to_html(nodes: &[Node]) -> String {
    let mut html = String::new();
    write(nodes, &mut html);
    html
}

/// As the value of FHIR's extension `rendering-xhtml`.
#[must_use]
pub fn to_xhtml(nodes: &[Node]) -> String {
    let inner = to_html(nodes);
    format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{inner}</div>")
}

fn write(nodes: &[Node], out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => escape(text, out),
            Node::Break => out.push_str("<br/>"),
            Node::Element(tag, inner) => {
                out.push('<');
                out.push_str(tag.name());
                if let Tag::Link(address) = tag {
                    out.push_str(" href=\"");
                    escape(address, out);
                    out.push('"');
                }
                out.push('>');
                write(inner, out);
                out.push_str("</");
                out.push_str(tag.name());
                out.push('>');
            }
        }
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(c),
            // XML can't hold them.
            '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn basic_markup_comes_through() {
        for (html, same) in [
            ("a <b>b</b> <i>c</i>", "a <strong>b</strong> <em>c</em>"),
            (
                "<u>u</u><s>s</s><code>c</code>",
                "<u>u</u><del>s</del><code>c</code>",
            ),
            ("<ul><li>1<li>2</ul>", "<ul><li>1</li><li>2</li></ul>"),
            ("a<br>b<br />c", "a<br/>b<br/>c"),
            ("<p>a<p>b", "<p>a</p><p>b</p>"),
            (
                "<a href='https://example.org/?a=1&amp;b=2' onclick=x>l</a>",
                "<a href=\"https://example.org/?a=1&amp;b=2\">l</a>",
            ),
            (
                "1 < 2 &amp; 3 &lt; 4 &#x1F642; &euro;",
                "1 &lt; 2 &amp; 3 &lt; 4 🙂 &amp;euro;",
            ),
        ] {
            assert_eq!(to_html(&from_html(html)), same, "{html}");
        }
    }

    #[test]
    fn what_is_not_basic_markup_is_left_out() {
        for (html, same) in [
            ("a<script>alert(1)</script>b", "ab"),
            ("a<style>x{}</style>b<iframe src=x>c</iframe>", "ab"),
            ("<img src=x onerror=alert(1)>a", "a"),
            ("<a href=\"javascript:alert(1)\">a</a>", "a"),
            ("<a href=\"java\nscript:x\">a</a>", "a"),
            ("<font color=red>a</font>", "a"),
            ("a<!-- b -->c<!-- d", "ac"),
            ("<mx-reply>quoted</mx-reply>answer", "answer"),
            ("<b>a", "<strong>a</strong>"),
            ("a</b>", "a"),
            ("<b", ""),
            ("<div xmlns=\"x\"><b>a</b></div>", "<strong>a</strong>"),
        ] {
            assert_eq!(to_html(&from_html(html)), same, "{html}");
        }
    }

    #[test]
    fn markdown_is_read() {
        let html = to_html(&from_markdown(
            "Take **one** a day, _not_ `two`:\n\n- [this](https://example.org)\n- <b>that</b>\n",
        ));
        assert_eq!(
            html,
            "<p>Take <strong>one</strong> a day, <em>not</em> <code>two</code>:</p>\
             <ul><li><a href=\"https://example.org\">this</a></li><li>&lt;b&gt;that&lt;/b&gt;</li></ul>"
        );
    }

    #[test]
    fn text_with_lines_alone_has_no_markup() {
        assert!(!is_marked(&from_html("<p>a<br>b</p>")));
        assert!(is_marked(&from_html("<p>a <em>b</em></p>")));
    }

    #[test]
    fn no_depth_breaks_it() {
        let deep = "<b>".repeat(100_000);
        assert!(to_html(&from_html(&format!("{deep}a"))).contains('a'));
        let quotes = ">".repeat(10_000);
        assert!(to_html(&from_markdown(&format!("{quotes}a"))).len() < 100_000);
    }

    proptest! {
        /// What we have written is read as the same again: so nothing stands in it but what we know.
        #[test]
        fn what_is_written_is_clean(html in "[<>/abisu=\"' &;#!-]{0,60}") {
            let once = to_html(&from_html(&html));
            prop_assert_eq!(to_html(&from_html(&once)), once);
        }
    }
}
