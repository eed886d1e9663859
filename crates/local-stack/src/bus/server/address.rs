//! Link addresses: which node of which entity a client means.

use crate::bus::queue::SubQueue;

/// What an address points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `$cbs`, where tokens are put.
    Cbs,
    /// An entity, its dead-letter queue, or the management node of either.
    Entity {
        name: String,
        sub: SubQueue,
        management: bool,
    },
}

impl Address {
    /// Reads an address with or without scheme and authority (azure-servicebus for Python writes
    /// `amqps://host/queue` on data links and `queue/$management` on others). Names and the
    /// reserved segments are not case-sensitive; the name comes back in lower case.
    pub(crate) fn parse(address: &str) -> Self {
        let path = match address.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
            None => address,
        };
        let path = path.trim_matches('/').to_lowercase();
        if path == "$cbs" {
            return Address::Cbs;
        }
        let (path, management) = match path.strip_suffix("/$management") {
            Some(entity) => (entity, true),
            None => (path.as_str(), false),
        };
        let (path, sub) = match path.strip_suffix("/$deadletterqueue") {
            Some(entity) => (entity, SubQueue::DeadLetter),
            None => (path, SubQueue::Main),
        };
        Address::Entity {
            name: path.to_owned(),
            sub,
            management,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(name: &str, sub: SubQueue, management: bool) -> Address {
        Address::Entity {
            name: name.to_owned(),
            sub,
            management,
        }
    }

    #[test]
    fn scheme_authority_and_case_do_not_matter() {
        for address in [
            "orders",
            "/Orders",
            "amqps://localhost:5673/orders",
            "sb://ns/ORDERS/",
        ] {
            assert_eq!(
                Address::parse(address),
                entity("orders", SubQueue::Main, false)
            );
        }
        assert_eq!(Address::parse("$cbs"), Address::Cbs);
    }

    #[test]
    fn reserved_segments_name_the_node_behind_the_queue() {
        let dead = Address::parse("a/b/$DeadLetterQueue");
        assert_eq!(dead, entity("a/b", SubQueue::DeadLetter, false));
        let dead_management = Address::parse("amqps://ns/a/b/$deadletterqueue/$Management");
        assert_eq!(dead_management, entity("a/b", SubQueue::DeadLetter, true));
        assert_eq!(
            Address::parse("a/$management"),
            entity("a", SubQueue::Main, true)
        );
    }
}
