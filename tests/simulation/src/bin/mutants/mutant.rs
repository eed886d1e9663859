//! A wrong variant, as its file describes it.
//!
//! ```text
//! One sentence that says what is wrong with it.
//!
//! === path/of/a/file.rs
//! ---
//! text that occurs exactly once
//! +++
//! what stands there instead
//! ```

use std::path::Path;

use anyhow::{Context, bail, ensure};

/// A wrong variant.
pub(crate) struct Mutant {
    pub(crate) name: String,
    pub(crate) sentence: String,
    pub(crate) edits: Vec<Edit>,
}

/// One replacement.
pub(crate) struct Edit {
    /// From the workspace's root.
    pub(crate) path: String,
    from: String,
    to: String,
}

impl Mutant {
    /// All mutants of a folder, by name.
    pub(crate) fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut mutants = Vec::new();
        let entries = std::fs::read_dir(folder);
        for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = std::fs::read_to_string(&path)?;
            let mutant = Self::parse(&name, &text);
            mutants.push(mutant.with_context(|| format!("cannot use {}", path.display()))?);
        }
        mutants.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(mutants)
    }

    fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let mut parts = text.split("\n=== ");
        let sentence = parts.next().unwrap_or_default().trim().to_owned();
        let edits = parts.map(Edit::parse).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(
            !sentence.is_empty() && !edits.is_empty(),
            "no sentence or no replacement"
        );
        Ok(Self {
            name: name.to_owned(),
            sentence,
            edits,
        })
    }
}

impl Edit {
    fn parse(part: &str) -> anyhow::Result<Self> {
        let Some((path, rest)) = part.split_once("\n---\n") else {
            bail!("a replacement without its line ---");
        };
        let Some((from, to)) = rest.split_once("\n+++\n") else {
            bail!("a replacement without its line +++");
        };
        let to = to.strip_suffix('\n').unwrap_or(to);
        Ok(Self {
            path: path.trim().to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
        })
    }

    /// The file's text with the replacement made.
    pub(crate) fn apply(&self, text: &str) -> anyhow::Result<String> {
        let found = text.matches(&self.from).count();
        ensure!(
            found == 1,
            "{} holds the text to replace {found} times instead of once; bring the mutant up to date",
            self.path
        );
        Ok(text.replacen(&self.from, &self.to, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Building and killing them takes a while and is not done on each change; that the kill table is
    /// about the code as it is can be seen at once.
    #[test]
    fn every_wrong_variant_still_applies_to_the_code_and_stands_in_the_kill_table() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mutants = Mutant::read_all(&root.join("tests/simulation/mutants")).unwrap();
        assert!(mutants.len() >= 20, "{} are left", mutants.len());
        let proof = std::fs::read_to_string(root.join("docs/proof.md")).unwrap();
        for mutant in &mutants {
            for edit in &mutant.edits {
                let text = std::fs::read_to_string(root.join(&edit.path)).unwrap();
                let changed = edit.apply(&text);
                assert!(changed.is_ok(), "{}: {:?}", mutant.name, changed.err());
            }
            let row = format!("| {} | ", mutant.sentence);
            assert!(proof.contains(&row), "{} has no row", mutant.name);
        }
    }
}
