//! Settlements, as a disposition's delivery state and as the fields of a management request.

use fe2o3_amqp::link::receiver::TerminalDeliveryState;
use fe2o3_amqp_types::definitions::{Error as AmqpError, ErrorCondition, Fields};
use fe2o3_amqp_types::messaging::{Accepted, Modified, Rejected};
use serde_amqp::Value as Amqp;
use serde_amqp::primitives::{OrderedMap, Symbol};

use super::value::to_amqp;
use crate::settlement::Settlement;
use crate::value::Properties;

/// The SDKs check for this many characters before they send; the service's own limit is not documented.
const MAX_DEAD_LETTER_TEXT: usize = 4096;

/// The delivery state that a receiver answers a delivery with.
pub(crate) fn delivery_state(settlement: Settlement) -> TerminalDeliveryState {
    match settlement {
        Settlement::Complete => Accepted {}.into(),
        Settlement::Abandon { properties } => modified(false, properties).into(),
        Settlement::Defer { properties } => modified(true, properties).into(),
        Settlement::DeadLetter {
            reason,
            description,
            properties,
        } => {
            let mut info = fields(properties);
            info.insert("DeadLetterReason".into(), Amqp::String(cut(reason)));
            info.insert(
                "DeadLetterErrorDescription".into(),
                Amqp::String(cut(description)),
            );
            Rejected {
                error: Some(AmqpError::new(
                    ErrorCondition::Custom(Symbol::from("com.microsoft:dead-letter")),
                    None,
                    Some(info),
                )),
            }
            .into()
        }
    }
}

/// The fields of an `update-disposition` request. The status words are the service's own, with its
/// spelling: `suspended` means dead-letter, and `defered` is no slip of ours.
pub(crate) fn management_fields(settlement: Settlement) -> Vec<(&'static str, Amqp)> {
    let status = |word: &str| ("disposition-status", Amqp::String(word.into()));
    let mut fields = match &settlement {
        Settlement::Complete => vec![status("completed")],
        Settlement::Abandon { .. } => vec![status("abandoned")],
        Settlement::Defer { .. } => vec![status("defered")],
        Settlement::DeadLetter {
            reason,
            description,
            ..
        } => vec![
            status("suspended"),
            ("deadletter-reason", Amqp::String(cut(reason.clone()))),
            (
                "deadletter-description",
                Amqp::String(cut(description.clone())),
            ),
        ],
    };
    let (Settlement::Abandon { properties }
    | Settlement::Defer { properties }
    | Settlement::DeadLetter { properties, .. }) = settlement
    else {
        return fields;
    };
    if !properties.is_empty() {
        let mut map = OrderedMap::new();
        for (name, value) in properties {
            map.insert(Amqp::String(name), to_amqp(value));
        }
        fields.push(("properties-to-modify", Amqp::Map(map)));
    }
    fields
}

fn modified(undeliverable_here: bool, properties: Properties) -> Modified {
    Modified {
        delivery_failed: None,
        undeliverable_here: Some(undeliverable_here),
        message_annotations: (!properties.is_empty()).then(|| fields(properties)),
    }
}

fn fields(properties: Properties) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in properties {
        fields.insert(Symbol::from(name), to_amqp(value));
    }
    fields
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_DEAD_LETTER_TEXT) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead_letter(reason: &str) -> Settlement {
        Settlement::DeadLetter {
            reason: reason.into(),
            description: "why".into(),
            properties: Properties::from([("stage".to_owned(), "map".into())]),
        }
    }

    #[test]
    fn the_status_words_are_the_services() {
        let none = Properties::new;
        for (settlement, word) in [
            (Settlement::Complete, "completed"),
            (Settlement::Abandon { properties: none() }, "abandoned"),
            (Settlement::Defer { properties: none() }, "defered"),
            (dead_letter("r"), "suspended"),
        ] {
            let fields = management_fields(settlement);
            assert_eq!(fields[0], ("disposition-status", Amqp::String(word.into())));
        }
    }

    #[test]
    fn dead_letter_carries_reason_description_and_properties_both_ways() {
        let names: Vec<_> = management_fields(dead_letter("r"))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            names,
            [
                "disposition-status",
                "deadletter-reason",
                "deadletter-description",
                "properties-to-modify"
            ]
        );
        let TerminalDeliveryState::Rejected(rejected) = delivery_state(dead_letter("r")) else {
            panic!("not rejected");
        };
        let info = rejected.error.unwrap().info.unwrap();
        let names: Vec<_> = info.keys().map(Symbol::as_str).collect();
        assert_eq!(
            names,
            ["stage", "DeadLetterReason", "DeadLetterErrorDescription"]
        );
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let long = "ü".repeat(MAX_DEAD_LETTER_TEXT + 1);
        let fields = management_fields(dead_letter(&long));
        let Amqp::String(reason) = &fields[1].1 else {
            panic!("not a string");
        };
        assert_eq!(reason.chars().count(), MAX_DEAD_LETTER_TEXT);
    }

    #[test]
    fn defer_is_undeliverable_here_and_abandon_is_not() {
        for (settlement, undeliverable) in [
            (
                Settlement::Abandon {
                    properties: Properties::new(),
                },
                false,
            ),
            (
                Settlement::Defer {
                    properties: Properties::new(),
                },
                true,
            ),
        ] {
            let TerminalDeliveryState::Modified(modified) = delivery_state(settlement) else {
                panic!("not modified");
            };
            assert_eq!(modified.undeliverable_here, Some(undeliverable));
            assert_eq!(modified.message_annotations, None);
        }
    }
}
