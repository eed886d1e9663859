//! What an app setting is, described once: its readers take default, range and example from there, and so
//! do `dvsync check`, `docs/configuration.md` and the README's table. Knows no setting by name.
#![forbid(unsafe_code)]

mod read;

pub use read::{Lookup, SettingError, environment};

/// One app setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Its name, exactly.
    pub name: &'static str,
    /// What it says, for people: Markdown, the lines of its doc comment.
    pub meaning: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// What counts without it.
    pub absent: Absent,
    /// A value that would do.
    pub example: &'static str,
    /// Who reads it.
    pub reader: Reader,
    /// Whether the value may be or hold a secret.
    pub secret: bool,
}

/// What counts where a setting is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The app does not start.
    Required,
    /// This value, which readers parse as if it were there.
    Default(&'static str),
    /// What then happens, in words.
    Means(&'static str),
}

/// Who reads a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Both apps.
    Both,
    /// `outbound-fn`.
    Outbound,
    /// `inbound-fn`.
    Inbound,
    /// The Functions host, for both apps.
    Host,
    /// Both apps; the platform sets it, and nobody else should.
    SetByPlatform,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text; in words, what of.
    Text(&'static str),
    /// An http(s) address.
    Address,
    /// `true` or `false`.
    Flag,
    /// A number, fractions allowed.
    Decimal {
        /// Of what.
        unit: &'static str,
        /// The least that is taken.
        least: f64,
        /// The most that is taken.
        most: f64,
    },
    /// A whole number.
    Whole {
        /// Of what.
        unit: &'static str,
        /// The least that is taken.
        least: u64,
        /// The most that is taken.
        most: u64,
    },
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(what) => f.write_str(what),
            Self::Address => f.write_str("http(s) address"),
            Self::Flag => f.write_str("`true` or `false`"),
            Self::Decimal { unit, least, most } => write!(f, "{unit}, {least} to {most}"),
            Self::Whole { unit, least, most } => {
                write!(f, "whole number of {unit}, {least} to {most}")
            }
        }
    }
}

impl Setting {
    /// Of this kind, required, read by both apps, no secret. [`table!`] gives it name and meaning.
    #[must_use]
    pub const fn new(kind: Kind, example: &'static str) -> Self {
        Self {
            name: "",
            meaning: "",
            kind,
            absent: Absent::Required,
            example,
            reader: Reader::Both,
            secret: false,
        }
    }

    /// A text; `what` says of what.
    #[must_use]
    pub const fn text(what: &'static str, example: &'static str) -> Self {
        Self::new(Kind::Text(what), example)
    }

    /// A time in seconds, fractions allowed, up to a day.
    #[must_use]
    pub const fn seconds(example: &'static str) -> Self {
        let (least, most) = (0.1, 86_400.0);
        let unit = "seconds";
        Self::new(Kind::Decimal { unit, least, most }, example)
    }

    /// With a default.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.absent = Absent::Default(value);
        self
    }

    /// Without a default; what happens where it is not there.
    #[must_use]
    pub const fn without(mut self, then: &'static str) -> Self {
        self.absent = Absent::Means(then);
        self
    }

    /// Not read by both apps, but by this one.
    #[must_use]
    pub const fn by(mut self, reader: Reader) -> Self {
        self.reader = reader;
        self
    }

    /// May be or hold a secret.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// Makes a constant of each setting, called as the setting is, with its doc comment as meaning; and one
/// of them all, under the name in front.
#[macro_export]
macro_rules! table {
    ($(#[doc = $about:literal])+ $all:ident: $($(#[doc = $meaning:literal])+ $name:ident = $setting:expr;)+) => {
        $(
            $(#[doc = $meaning])+
            #[allow(non_upper_case_globals)]
            pub const $name: $crate::Setting = $crate::Setting {
                name: stringify!($name),
                meaning: concat!($($meaning),+),
                ..$setting
            };
        )+
        $(#[doc = $about])+
        pub const $all: &[$crate::Setting] = &[$($name),+];
    };
}
