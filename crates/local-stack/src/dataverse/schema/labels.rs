//! What people read for the values of choices, and the names of tables and columns.

/// The industry codes Dynamics 365 ships with, from 1.
const INDUSTRIES: [&str; 33] = [
    "Accounting",
    "Agriculture and Non-petrol Natural Resource Extraction",
    "Broadcasting Printing and Publishing",
    "Brokers",
    "Building Supply Retail",
    "Business Services",
    "Consulting",
    "Consumer Services",
    "Design, Direction and Creative Management",
    "Distributors, Dispatchers and Processors",
    "Doctor's Offices and Clinics",
    "Durable Manufacturing",
    "Eating and Drinking Places",
    "Entertainment Retail",
    "Equipment Rental and Leasing",
    "Financial",
    "Food and Tobacco Processing",
    "Inbound Capital Intensive Processing",
    "Inbound Repair and Services",
    "Insurance",
    "Legal Services",
    "Non-Durable Merchandise Retail",
    "Outbound Consumer Service",
    "Petrochemical Extraction and Distribution",
    "Service Retail",
    "SIG Affiliations",
    "Social Services",
    "Special Outbound Trade Contractors",
    "Specialty Realty",
    "Transportation",
    "Utility Creation and Distribution",
    "Vehicle Retail",
    "Wholesale",
];
const LANGUAGES: [&str; 4] = ["German", "English", "French", "Italian"];
const OUTBOX_STATUSES: [&str; 4] = ["Pending", "Sending", "Retry wait", "Failed"];

/// The label of one value of a choice, state or status.
pub(in crate::dataverse) fn choice(table: &str, column: &str, value: i64) -> Option<&'static str> {
    let (labels, first): (&[&str], i64) = match (table, column) {
        (_, "industrycode") => (&INDUSTRIES, 1),
        (_, "new_languages") => (&LANGUAGES, 100),
        ("dvs_outbox", "statuscode") => (&OUTBOX_STATUSES, 1),
        (_, "statuscode") => (&["Active", "Inactive"], 1),
        (_, "statecode") => (&["Active", "Inactive"], 0),
        _ => return None,
    };
    let index = usize::try_from(value - first).ok()?;
    labels.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Schema};
    use super::*;

    #[test]
    fn every_value_of_every_choice_has_a_label() {
        for table in Schema::new().tables {
            for column in &table.columns {
                let (Kind::Choice(values)
                | Kind::Choices(values)
                | Kind::State(values)
                | Kind::Status(values)) = column.kind
                else {
                    continue;
                };
                for value in values {
                    let label = choice(table.logical, column.name, *value);
                    assert!(label.is_some(), "{}.{} {value}", table.logical, column.name);
                }
            }
        }
    }
}
