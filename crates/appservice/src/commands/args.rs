//! Arguments, from words to types.

use std::{borrow::Cow, fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use ruma::{
    OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, OwnedUserId,
};
use url::Url;

use super::words;

/// What stands behind a command's name and has not been read yet.
#[derive(Clone, Copy)]
pub struct Args<'a>(&'a str);

/// An argument that is missing, or no such thing. Its text is for the person who typed it, and quotes
/// what was typed: don't log it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadArgument {
    /// There is none left; it should have been this.
    Missing(&'static str),
    /// What was typed is not what it should be.
    Not {
        /// What was typed.
        typed: String,
        /// What it should be, such as `a room id`.
        expected: &'static str,
    },
    /// A quoted part has no end.
    OpenQuote,
    /// There is more than the command takes.
    TooMany,
}

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "Something is missing: {what}."),
            Self::Not { typed, expected } => write!(f, "“{typed}” is not {expected}."),
            Self::OpenQuote => f.write_str("A quote has no end."),
            Self::TooMany => f.write_str("That is more than I can use."),
        }
    }
}

impl<'a> Args<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text.trim())
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.trim_start().is_empty()
    }

    /// Reads the next word by `parse`; `expected` says for people what it should be.
    ///
    /// # Errors
    ///
    /// When there is none, or `parse` makes nothing of it.
    pub fn read<T>(
        &mut self,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, BadArgument> {
        let word = words::first(&mut self.0)
            .map_err(|words::OpenQuote| BadArgument::OpenQuote)?
            .ok_or(BadArgument::Missing(expected))?;
        parse(&word).ok_or(BadArgument::Not {
            typed: word,
            expected,
        })
    }

    /// Takes all that is left, as it was typed.
    pub fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.0).trim()
    }

    pub(super) fn read_all<A: FromArgs>(mut self) -> Result<A, BadArgument> {
        let args = A::read(&mut self)?;
        if self.is_empty() {
            Ok(args)
        } else {
            Err(BadArgument::TooMany)
        }
    }
}

/// One argument. Text, numbers, `yes` and `no`, ids and URLs are; `Option<T>` is one that may be left out,
/// `Vec<T>` all that follow, and [`Rest`] the remainder as it was typed. A link to `matrix.to` is as good
/// as the id in it.
///
/// ```
/// use matrix_appservice::commands::{Args, BadArgument, FromArg};
///
/// enum Colour { Red, Green }
///
/// impl FromArg for Colour {
///     fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
///         args.read("red or green", |word| match word {
///             "red" => Some(Self::Red),
///             "green" => Some(Self::Green),
///             _ => None,
///         })
///     }
/// }
/// ```
pub trait FromArg: Sized {
    /// Takes as many words as it needs.
    ///
    /// # Errors
    ///
    /// When they are missing, or not what they should be.
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument>;
}

/// The remainder of what was typed, with its quotes and spaces. Not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest(pub String);

impl FromArg for Rest {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        match args.rest() {
            "" => Err(BadArgument::Missing("text")),
            rest => Ok(Self(rest.to_owned())),
        }
    }
}

impl<T: FromArg> FromArg for Option<T> {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        if args.is_empty() {
            return Ok(None);
        }
        T::read(args).map(Some)
    }
}

impl<T: FromArg> FromArg for Vec<T> {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        let mut all = Self::new();
        while !args.is_empty() {
            all.push(T::read(args)?);
        }
        Ok(all)
    }
}

impl FromArg for String {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        args.read("text", |word| Some(word.to_owned()))
    }
}

impl FromArg for bool {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        args.read("yes or no", |word| match word.to_lowercase().as_str() {
            "yes" | "on" | "true" => Some(true),
            "no" | "off" | "false" => Some(false),
            _ => None,
        })
    }
}

impl FromArg for Url {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        args.read("a URL", |word| Self::parse(word).ok())
    }
}

macro_rules! numbers {
    ($($type:ty: $what:literal),* $(,)?) => {
        $(impl FromArg for $type {
            fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
                args.read($what, |word| word.parse().ok())
            }
        })*
    };
}

numbers! {
    u8: "a number from 0 to 255", u16: "a number from 0 to 65535", u32: "a number without a sign",
    u64: "a number without a sign", usize: "a number without a sign", i32: "a number",
    i64: "a number", f64: "a number",
}

macro_rules! ids {
    ($($type:ty: $what:literal),* $(,)?) => {
        $(impl FromArg for $type {
            fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
                args.read($what, id)
            }
        })*
    };
}

ids! {
    OwnedUserId: "a user id like @name:example.org",
    OwnedRoomId: "a room id, which begins with !",
    OwnedRoomAliasId: "a room's address like #name:example.org",
    OwnedRoomOrAliasId: "a room's id or its address like #name:example.org",
    OwnedEventId: "an event id, which begins with $",
    OwnedServerName: "a server name like example.org",
}

/// The id, also when it stands in a link.
fn id<T: FromStr>(word: &str) -> Option<T> {
    let id = match word.strip_prefix("https://matrix.to/#/") {
        Some(link) => {
            let path = link.split('?').next().unwrap_or_default();
            percent_decode_str(path).decode_utf8().ok()?
        }
        None => Cow::Borrowed(word),
    };
    id.parse().ok()
}

/// All arguments of a command: a tuple of up to six.
pub trait FromArgs: Sized {
    /// Takes the words that they need.
    ///
    /// # Errors
    ///
    /// When they are missing, or not what they should be.
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument>;
}

impl FromArgs for () {
    fn read(_: &mut Args<'_>) -> Result<Self, BadArgument> {
        Ok(())
    }
}

macro_rules! tuples {
    ($(($($type:ident),+))*) => {
        $(impl<$($type: FromArg),+> FromArgs for ($($type,)+) {
            fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
                Ok(($($type::read(args)?,)+))
            }
        })*
    };
}

tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) }

#[cfg(test)]
mod tests {
    use super::*;

    fn read<A: FromArgs>(text: &str) -> Result<A, BadArgument> {
        Args::new(text).read_all()
    }

    #[test]
    fn arguments_are_read_as_the_types_of_the_tuple() {
        let (room, name, count): (OwnedRoomId, String, Option<u32>) =
            read(r#"!room "two words" 3"#).unwrap();
        assert_eq!(
            (room.as_str(), name.as_str(), count),
            ("!room", "two words", Some(3))
        );
        assert_eq!(
            read::<(String, Option<u32>)>("a"),
            Ok(("a".to_owned(), None))
        );
        assert_eq!(read::<(Vec<i32>,)>("1 -2 3"), Ok((vec![1, -2, 3],)));
        assert_eq!(
            read::<(bool, Rest)>(r#"Yes  say "this"  and that "#),
            Ok((true, Rest(r#"say "this"  and that"#.to_owned())))
        );
        assert_eq!(read::<()>("  "), Ok(()));
    }

    #[test]
    fn an_id_may_be_a_link() {
        let id = |text| read::<(OwnedRoomOrAliasId,)>(text).map(|(id,)| id.to_string());
        for text in [
            "#a:x",
            "https://matrix.to/#/#a:x",
            "https://matrix.to/#/%23a%3Ax?via=x",
        ] {
            assert_eq!(id(text).unwrap(), "#a:x", "{text}");
        }
        let user = read::<(OwnedUserId,)>("https://matrix.to/#/@a:x")
            .unwrap()
            .0;
        assert_eq!(user, "@a:x");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |result: Result<(OwnedUserId, u8), BadArgument>| result.unwrap_err().to_string();
        assert!(said(read("")).starts_with("Something is missing: a user id"));
        assert!(said(read("anne 1")).starts_with("“anne” is not a user id"));
        assert_eq!(
            said(read("@a:x 256")),
            "“256” is not a number from 0 to 255."
        );
        assert_eq!(said(read("@a:x \"1")), "A quote has no end.");
        assert_eq!(said(read("@a:x 1 2")), "That is more than I can use.");
        assert_eq!(read::<(Rest,)>(" "), Err(BadArgument::Missing("text")));
    }
}
