//! What a command says when it is done, or when it could not do it.

use crate::{dispatch::HandlerError, intent::Message};

/// A command's answer: text (sent as a notice), a message of your own making, or nothing.
#[derive(Debug)]
pub struct Answer(pub(super) Option<Message>);

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self(None)
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self(Some(Message::notice(text)))
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self(Some(Message::notice(text)))
    }
}

impl From<Message> for Answer {
    fn from(message: Message) -> Self {
        Self(Some(message))
    }
}

/// Why a command could not do what it was asked to.
///
/// Any error becomes one by `?`. When it says that a peer is away, or asks for a pause, the command runs
/// again later; any other is logged by its class (see [`HandlerError`]), and the person is told that it
/// didn't work, and no more.
#[derive(Debug)]
pub struct CommandError(pub(super) Why);

#[derive(Debug)]
pub(super) enum Why {
    Said(String),
    Failed(HandlerError),
}

impl CommandError {
    /// Tells the person what is wrong with what they asked for.
    #[must_use]
    pub fn say(text: impl Into<String>) -> Self {
        Self(Why::Said(text.into()))
    }
}

impl From<HandlerError> for CommandError {
    fn from(error: HandlerError) -> Self {
        Self(Why::Failed(error))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        Self(Why::Failed(error.into()))
    }
}
