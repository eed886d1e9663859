//! `docs/configuration.md` and the README's table of settings, made from what the apps read: the settings'
//! table, the schema of `sync.json`, `host.json` and the `function.json` files. Renewed with
//!
//!     UPDATE_GOLDEN=1 cargo test --workspace --test configuration
#![allow(clippy::unwrap_used)]

mod host;
mod markdown;
mod settings;
mod sync_file;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Fails when the file is not this text; writes it where that is asked for.
fn golden(path: &str, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(root().join(path), text).unwrap();
    }
    assert!(
        read(path) == text,
        "{path} is out of date: UPDATE_GOLDEN=1 cargo test --workspace --test configuration"
    );
}

#[test]
fn the_document_is_what_the_types_say() {
    let parts = [
        settings::document(),
        sync_file::document(),
        host::document(),
    ];
    let mut text = String::from(
        "<!-- Made from the types by `UPDATE_GOLDEN=1 cargo test --workspace --test configuration`: change those, not this. -->\n\n\
         # Configuration\n\n\
         Everything that can be set, made from the types that read it: [app settings](#app-settings), [sync.json](#the-sync-file), \
         [host.json](#hostjson), [function.json](#functionjson). A wrong value stops an app at start, with its name and an example; \
         `dvsync check` finds all of them at once before that. What `infra/` can be told is in [main.bicep](../infra/main.bicep).\n\n",
    );
    text.push_str(&parts.join("\n"));
    every_link_leads_somewhere(&text);
    golden("docs/configuration.md", &text);
}

fn every_link_leads_somewhere(text: &str) {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let anchor = markdown::anchor(heading.trim_start_matches('#').trim());
        assert!(anchors.insert(anchor), "two headings are {heading}");
    }
    for link in text.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap();
        assert!(anchors.contains(anchor), "there is no heading {anchor}");
    }
    for link in text
        .split("](")
        .skip(1)
        .filter(|link| !link.starts_with('#'))
    {
        let path = link.split(')').next().unwrap();
        assert!(
            root().join("docs").join(path).exists(),
            "there is no {path}"
        );
    }
}

#[test]
fn the_readme_has_every_setting_with_its_default() {
    const BEGIN: &str = "<!-- settings: made from the types, as docs/configuration.md is -->\n";
    const END: &str = "<!-- /settings -->\n";
    let readme = read("README.md");
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let table = settings::readme_table();
    golden("README.md", &format!("{before}{BEGIN}{table}{END}{after}"));
}
