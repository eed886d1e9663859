//! Entity addresses.

/// The address of the entity's dead-letter queue: `{entity}/$deadletterqueue`.
///
/// Works for queues and for subscriptions (`{topic}/subscriptions/{name}`). The broker compares
/// addresses without regard to case.
pub fn dead_letter_queue(entity: &str) -> String {
    format!("{entity}/$deadletterqueue")
}

/// The address of the entity's management node.
pub(crate) fn management_node(entity: &str) -> String {
    format!("{entity}/$management")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_entities_hang_below_their_entity() {
        assert_eq!(dead_letter_queue("orders"), "orders/$deadletterqueue");
        assert_eq!(
            management_node(&dead_letter_queue("orders")),
            "orders/$deadletterqueue/$management"
        );
    }
}
