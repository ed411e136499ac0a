use std::fmt;

use serde_json::Value;

use super::lens;

/// The extension of a text that holds the same with markup, as an XHTML `div`:
/// <http://hl7.org/fhir/R4/extension-rendering-xhtml.html>
pub(super) const RENDERING_XHTML: &str = "http://hl7.org/fhir/StructureDefinition/rendering-xhtml";
/// The same in Markdown: <http://hl7.org/fhir/R4/extension-rendering-markdown.html>
const RENDERING_MARKDOWN: &str = "http://hl7.org/fhir/StructureDefinition/rendering-markdown";

/// A text, and the same with markup. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// The text, which stands for itself.
    pub text: String,
    /// The same with markup, in XHTML.
    pub xhtml: Option<String>,
    /// The same with markup, in Markdown. Read, not written.
    pub markdown: Option<String>,
}

impl Text {
    /// A text without markup.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Reads a string element with its extensions.
    pub(super) fn from_json(json: &Value, name: &str) -> Option<Self> {
        let text = lens::text(json, name)?.to_owned();
        let rendering = |url, value| {
            let extensions = json.get(format!("_{name}"))?;
            let (_, extension) = lens::extensions(extensions).find(|(known, _)| *known == url)?;
            lens::text(extension, value).map(str::to_owned)
        };
        Some(Self {
            xhtml: rendering(RENDERING_XHTML, "valueString"),
            markdown: rendering(RENDERING_MARKDOWN, "valueMarkdown")
                .or_else(|| rendering(RENDERING_MARKDOWN, "valueString")),
            text,
        })
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text").finish_non_exhaustive()
    }
}
