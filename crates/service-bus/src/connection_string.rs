//! Connection strings, as the Azure portal shows them.

use std::str::FromStr;

use crate::credential::Credential;

/// Where the broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name, such as `contoso.servicebus.windows.net`.
    pub host: String,
    /// TCP port: 5671 with TLS, 5672 without, unless the endpoint names one.
    pub port: u16,
    /// Whether the connection is TLS.
    pub tls: bool,
}

impl Endpoint {
    /// The endpoint of a namespace by its fully qualified name, such as
    /// `contoso.servicebus.windows.net`: TLS on port 5671.
    pub fn namespace(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 5671,
            tls: true,
        }
    }
}

/// A parsed connection string.
#[derive(Debug, Clone)]
pub struct ConnectionString {
    /// Where the broker listens.
    pub endpoint: Endpoint,
    /// The shared access key.
    pub credential: Credential,
    /// The one entity the string is for, if it names one.
    pub entity_path: Option<String>,
}

/// Why a connection string was refused. Never shows the string or the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionStringError {
    /// A part that must be there is not.
    #[error("the connection string has no {0}")]
    Missing(&'static str),
    /// A part cannot be understood.
    #[error("{key} in the connection string is wrong: {reason}")]
    Invalid {
        /// The part at fault.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A part is not of the form `Name=Value`.
    #[error("part {0} of the connection string is not Name=Value")]
    NotAPair(usize),
}

impl FromStr for ConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut endpoint = None;
        let mut key_name = None;
        let mut key = None;
        let mut entity_path = None;
        let mut emulator = false;
        for (index, part) in text.split(';').map(str::trim).enumerate() {
            if part.is_empty() {
                continue;
            }
            let (name, value) = part
                .split_once('=')
                .ok_or(ConnectionStringError::NotAPair(index + 1))?;
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "endpoint" => endpoint = Some(value),
                "sharedaccesskeyname" => key_name = Some(value),
                "sharedaccesskey" => key = Some(value),
                "entitypath" => entity_path = Some(value),
                // The SDKs take exactly the lower-case `true` for an answer.
                "usedevelopmentemulator" => emulator = value == "true",
                // Parts that other SDKs know (TransportType and the like) do not concern us.
                _ => {}
            }
        }
        let required = |value: Option<&str>, key| {
            value
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .ok_or(ConnectionStringError::Missing(key))
        };
        Ok(Self {
            endpoint: parse_endpoint(&required(endpoint, "Endpoint")?, emulator)?,
            credential: Credential::Sas {
                key_name: required(key_name, "SharedAccessKeyName")?,
                key: required(key, "SharedAccessKey")?,
            },
            entity_path: entity_path
                .filter(|path| !path.is_empty())
                .map(str::to_owned),
        })
    }
}

fn parse_endpoint(text: &str, emulator: bool) -> Result<Endpoint, ConnectionStringError> {
    let invalid = |reason: String| ConnectionStringError::Invalid {
        key: "Endpoint",
        reason,
    };
    let url = url::Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    if !matches!(url.scheme(), "sb" | "amqp" | "amqps") {
        return Err(invalid(format!(
            "the scheme is {}, expected sb",
            url.scheme()
        )));
    }
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(|| invalid("it has no host".into()))?;
    Ok(Endpoint {
        host: host.to_owned(),
        port: url.port().unwrap_or(if emulator { 5672 } else { 5671 }),
        tls: !emulator,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConnectionString, ConnectionStringError> {
        text.parse()
    }

    #[test]
    fn a_portal_string_means_tls_on_5671() {
        let parsed = parse(
            "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=abc+/d=;EntityPath=orders",
        )
        .unwrap();
        assert_eq!(
            parsed.endpoint,
            Endpoint::namespace("contoso.servicebus.windows.net")
        );
        assert_eq!(parsed.entity_path.as_deref(), Some("orders"));
        let Credential::Sas { key_name, key } = parsed.credential else {
            panic!("not a shared access key");
        };
        assert_eq!((key_name.as_str(), key.as_str()), ("Root", "abc+/d="));
    }

    #[test]
    fn the_emulator_means_plain_tcp_on_5672_or_the_port_named() {
        let text = "Endpoint=sb://localhost;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator=true;";
        let endpoint = parse(text).unwrap().endpoint;
        assert_eq!((endpoint.port, endpoint.tls), (5672, false));
        let endpoint = parse(&text.replace("localhost", "127.0.0.1:5999"))
            .unwrap()
            .endpoint;
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("127.0.0.1", 5999));
    }

    #[test]
    fn only_the_exact_word_true_selects_the_emulator() {
        for value in ["True", "TRUE", "1", "yes"] {
            let text = format!(
                "Endpoint=sb://localhost;SharedAccessKeyName=k;SharedAccessKey=s;UseDevelopmentEmulator={value}"
            );
            assert!(parse(&text).unwrap().endpoint.tls, "{value}");
        }
    }

    #[test]
    fn an_error_names_the_part_that_is_wrong_and_never_the_key() {
        let missing = parse("Endpoint=sb://h;SharedAccessKeyName=k").unwrap_err();
        assert_eq!(missing, ConnectionStringError::Missing("SharedAccessKey"));
        let wrong = parse("Endpoint=https://h;SharedAccessKeyName=k;SharedAccessKey=hush");
        assert!(matches!(
            wrong,
            Err(ConnectionStringError::Invalid {
                key: "Endpoint",
                ..
            })
        ));
        assert!(!wrong.unwrap_err().to_string().contains("hush"));
        assert_eq!(
            parse("Endpoint=sb://h;hush").unwrap_err(),
            ConnectionStringError::NotAPair(2)
        );
    }

    #[test]
    fn debug_output_hides_the_key() {
        let parsed = parse("Endpoint=sb://h;SharedAccessKeyName=k;SharedAccessKey=hush").unwrap();
        assert!(!format!("{parsed:?}").contains("hush"));
    }
}
