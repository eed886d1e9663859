//! How a setting is read.

use std::time::Duration;

use url::Url;

use crate::{Absent, Kind, Setting};

/// Where settings come from; a test needs no real environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process environment, which is where Azure Functions puts app settings.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// A setting is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// It is not there.
    #[error("setting {name} is missing, e.g. {name}={example}")]
    Missing {
        /// Its name.
        name: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// It is there, but not usable. The value is not repeated: it may be a secret.
    #[error("setting {name} is not usable: {problem}, e.g. {name}={example}")]
    Invalid {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
        /// A value that would do.
        example: &'static str,
    },
}

impl SettingError {
    /// The setting's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing { name, .. } | Self::Invalid { name, .. } => name,
        }
    }
}

impl Setting {
    /// What it says, or its default. A value of blanks counts as none.
    #[must_use]
    pub fn get(&self, get: Lookup<'_>) -> Option<String> {
        let given = get(self.name).filter(|text| !text.trim().is_empty());
        given.or_else(|| match self.absent {
            Absent::Default(value) => Some(value.to_owned()),
            Absent::Required | Absent::Means(_) => None,
        })
    }

    /// That it is needed and not there.
    #[must_use]
    pub fn missing(&self) -> SettingError {
        SettingError::Missing {
            name: self.name,
            example: self.example,
        }
    }

    /// That it is there and not usable. `problem` must not repeat the value.
    #[must_use]
    pub fn invalid(&self, problem: impl Into<String>) -> SettingError {
        SettingError::Invalid {
            name: self.name,
            problem: problem.into(),
            example: self.example,
        }
    }

    /// What it says.
    ///
    /// # Errors
    /// When it is not there and has no default.
    pub fn required(&self, get: Lookup<'_>) -> Result<String, SettingError> {
        self.get(get).ok_or_else(|| self.missing())
    }

    /// An http(s) address.
    ///
    /// # Errors
    /// When it is missing or none.
    pub fn url(&self, get: Lookup<'_>) -> Result<Url, SettingError> {
        let text = self.required(get)?;
        let url = Url::parse(&text).map_err(|e| self.invalid(e.to_string()))?;
        if matches!(url.scheme(), "http" | "https") && url.has_host() {
            Ok(url)
        } else {
            Err(self.invalid("it is not an http(s) address"))
        }
    }

    /// Yes or no.
    ///
    /// # Errors
    /// When it is missing or neither.
    pub fn flag(&self, get: Lookup<'_>) -> Result<bool, SettingError> {
        match self.required(get)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.invalid("it is neither true nor false")),
        }
    }

    /// A number in the range of its kind.
    ///
    /// # Errors
    /// When it is missing, no number, or out of range.
    pub fn number(&self, get: Lookup<'_>) -> Result<f64, SettingError> {
        let text = self.required(get)?;
        let (unit, least, most) = match self.kind {
            Kind::Decimal { unit, least, most } => (unit, least, most),
            _ => ("anything", f64::MIN, f64::MAX),
        };
        match text.trim().parse::<f64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.invalid(format!(
                "it is not a number of {unit} between {least} and {most}"
            ))),
        }
    }

    /// A whole number in the range of its kind.
    ///
    /// # Errors
    /// When it is missing, no whole number, or out of range.
    pub fn whole(&self, get: Lookup<'_>) -> Result<u64, SettingError> {
        let text = self.required(get)?;
        let (least, most) = match self.kind {
            Kind::Whole { least, most, .. } => (least, most),
            _ => (0, u64::MAX),
        };
        match text.trim().parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.invalid(format!("it is not a whole number from {least} to {most}"))),
        }
    }

    /// A time that is given in seconds.
    ///
    /// # Errors
    /// As of [`number`](Self::number).
    pub fn duration(&self, get: Lookup<'_>) -> Result<Duration, SettingError> {
        self.number(get).map(Duration::from_secs_f64)
    }

    /// Whether a value has the form of its kind.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn fits(&self, value: &str) -> Result<(), SettingError> {
        let get = |_: &str| Some(value.to_owned());
        match self.kind {
            Kind::Text(_) => Ok(()),
            Kind::Address => self.url(&get).map(drop),
            Kind::Flag => self.flag(&get).map(drop),
            Kind::Decimal { .. } => self.number(&get).map(drop),
            Kind::Whole { .. } => self.whole(&get).map(drop),
        }
    }
}
