//! The changes that users make: every row once, then whatever the seed says.

use local_stack::dataverse::{Dataverse, SaveError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

/// Users at work.
pub(super) struct Workload {
    rng: StdRng,
    rows: Vec<(&'static str, Uuid)>,
    made: usize,
}

impl Workload {
    pub(super) fn new(seed: u64, dataverse: &Dataverse) -> Self {
        let rows = |table: &'static str| {
            let mut ids = dataverse.ids(table);
            ids.sort_unstable();
            ids.into_iter().map(move |id| (table, id))
        };
        let rows = rows("account").chain(rows("contact")).collect();
        Self {
            rng: StdRng::seed_from_u64(seed),
            rows,
            made: 0,
        }
    }

    /// How many rows there were to begin with.
    pub(super) fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Makes the next change: mostly updates; now and then a row is created or deleted.
    pub(super) fn change(&mut self, dataverse: &Dataverse) -> Result<(), SaveError> {
        let turn = self.made;
        self.made += 1;
        if let Some(&(table, id)) = self.rows.get(turn) {
            return dataverse
                .save(table, Some(id), &self.update(table))
                .map(|_| ());
        }
        match self.rng.random_range(0..100) {
            0..3 => {
                let name = format!("Customer {turn} (sample)");
                let row = json!({"name": name, "accountnumber": format!("N-{turn}"), "telephone1": "555-0100"});
                let saved = dataverse.save("account", None, &row)?;
                self.rows.push(("account", saved.id));
                Ok(())
            }
            // Contacts that nobody's lookup names: deleting another row clears or takes along what
            // refers to it, and Dataverse runs no step for that.
            3..5 => match self
                .pick(|table, id| table == "contact" && !dataverse_refers_to(dataverse, id))
            {
                Some(place) => {
                    let (table, id) = self.rows[place];
                    // Somebody else may have deleted it; then there is nothing to change.
                    self.rows.swap_remove(place);
                    dataverse.delete(table, id).map(|_| ())
                }
                None => self.touch(dataverse),
            },
            _ => self.touch(dataverse),
        }
    }

    fn touch(&mut self, dataverse: &Dataverse) -> Result<(), SaveError> {
        // A few rows get most of the changes, as in life: that is where coalescing shows.
        let hot = self.rng.random_bool(0.5);
        let reach = if hot {
            self.rows.len().div_ceil(10)
        } else {
            self.rows.len()
        };
        if reach == 0 {
            return Ok(());
        }
        let (table, id) = self.rows[self.rng.random_range(0..reach)];
        dataverse
            .save(table, Some(id), &self.update(table))
            .map(|_| ())
    }

    fn pick(&mut self, wanted: impl Fn(&str, Uuid) -> bool) -> Option<usize> {
        let wanted = |&place: &usize| wanted(self.rows[place].0, self.rows[place].1);
        let places: Vec<_> = (0..self.rows.len()).filter(wanted).collect();
        (!places.is_empty()).then(|| places[self.rng.random_range(0..places.len())])
    }

    fn update(&mut self, table: &str) -> Value {
        let number = self.rng.random_range(1000..10_000);
        match (table, self.rng.random_range(0..3)) {
            ("account", 0) => json!({"telephone1": format!("555-{number}")}),
            ("account", 1) => {
                json!({"address1_city": format!("City {number}"), "address1_postalcode": number.to_string()})
            }
            ("account", _) => json!({"revenue": number * 100, "creditonhold": number % 2 == 0}),
            (_, 0) => json!({"telephone1": format!("555-{number}")}),
            (_, _) => json!({"jobtitle": format!("Level {number}")}),
        }
    }
}

fn dataverse_refers_to(dataverse: &Dataverse, contact: Uuid) -> bool {
    let id = contact.to_string();
    dataverse
        .rows("account")
        .iter()
        .any(|row| row.get("_primarycontactid_value").and_then(Value::as_str) == Some(&id))
}
