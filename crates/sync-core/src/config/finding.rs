//! What is wrong with a configuration: where, what, and what would be right.

use std::fmt;

/// One thing that is wrong. It reads as a sentence that starts with the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key, e.g. `tables.account.fields.name`; empty when the file as a whole is meant.
    pub path: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.problem);
        }
        write!(f, "{} {}", self.path, self.problem)
    }
}

/// Collects findings below one key.
pub(super) struct Findings<'a> {
    all: &'a mut Vec<Finding>,
    path: String,
}

impl<'a> Findings<'a> {
    /// Findings of the whole file.
    pub(super) fn new(all: &'a mut Vec<Finding>) -> Self {
        Self {
            all,
            path: String::new(),
        }
    }

    /// Findings below a key of this one.
    pub(super) fn below(&mut self, key: &str) -> Findings<'_> {
        let path = self.path_of(key);
        Findings {
            all: self.all,
            path,
        }
    }

    /// Notes what is wrong with this key itself.
    pub(super) fn note(&mut self, problem: impl Into<String>) {
        self.all.push(Finding {
            path: self.path.clone(),
            problem: problem.into(),
        });
    }

    /// Notes what is wrong with a key below this one.
    pub(super) fn add(&mut self, key: &str, problem: impl Into<String>) {
        self.below(key).note(problem);
    }

    /// The value, or its problem noted: a sentence that starts with the key below this one.
    pub(super) fn keep<T, E: ToString>(&mut self, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|e| {
                let text = e.to_string();
                let (key, problem) = text.split_once(' ').unwrap_or(("", &text));
                self.add(key, problem);
            })
            .ok()
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (_, true) => self.path.clone(),
            _ => format!("{}.{key}", self.path),
        }
    }
}
