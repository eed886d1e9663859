//! What a binary needs of the machine it runs on, read from its ELF headers.

use std::fmt;

use anyhow::{Context, bail};
use goblin::elf::Elf;
use goblin::elf::header::{EM_X86_64, ET_DYN, ET_EXEC};
use serde::{Serialize, Serializer};

/// What it needs of glibc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing, and no other library: it is static.
    Nothing,
    /// That version or a newer one; major, minor, patch.
    AtLeast(Vec<u32>),
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::AtLeast(version) => {
                let parts: Vec<String> = version.iter().map(u32::to_string).collect();
                write!(f, ">= {}", parts.join("."))
            }
        }
    }
}

impl Serialize for Needs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Reads a binary's headers.
///
/// # Errors
/// When it is no program for x86-64 Linux, or needs a library that the Functions image need not have.
pub(super) fn needs(bytes: &[u8]) -> anyhow::Result<Needs> {
    let elf =
        Elf::parse(bytes).context("is no ELF binary; a handler is a program for x86-64 Linux")?;
    if !elf.is_64 || elf.header.e_machine != EM_X86_64 {
        bail!("is for another processor; a handler is a program for x86-64 Linux");
    }
    if !matches!(elf.header.e_type, ET_DYN | ET_EXEC) {
        bail!("is no program; a handler is a program for x86-64 Linux");
    }
    if elf.interpreter.is_none() && elf.libraries.is_empty() {
        return Ok(Needs::Nothing);
    }
    // What glibc consists of, and gcc's unwinder, which comes with every image that has glibc's.
    let known = [
        "libc.",
        "libm.",
        "libdl.",
        "librt.",
        "libpthread.",
        "libgcc_s.",
        "ld-linux",
    ];
    for library in &elf.libraries {
        if !known.iter().any(|known| library.starts_with(known)) {
            bail!(
                "needs the library {library}, which the Functions image need not have; link it statically"
            );
        }
    }
    let mut floor = Vec::new();
    for file in elf.verneed.iter().flat_map(|needed| needed.iter()) {
        for version in file.iter() {
            let name = elf.dynstrtab.get_at(version.vna_name).unwrap_or_default();
            floor = floor.max(glibc(name).unwrap_or_default());
        }
    }
    Ok(Needs::AtLeast(floor))
}

/// The version of `GLIBC_2.34`.
fn glibc(name: &str) -> Option<Vec<u32>> {
    let version = name.strip_prefix("GLIBC_")?;
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_linked_dynamically_tells_the_newest_glibc_it_asks_for() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();

        let Needs::AtLeast(floor) = needs(&this).unwrap() else {
            unreachable!("tests are linked dynamically");
        };

        assert!(floor >= vec![2, 2], "{floor:?}");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(glibc("GLIBC_2.34") > glibc("GLIBC_2.4"));
        assert_eq!(glibc("GLIBC_PRIVATE"), None);
        assert_eq!(Needs::AtLeast(vec![2, 34]).to_string(), ">= 2.34");
    }

    #[test]
    fn what_is_no_program_for_x86_64_linux_is_refused_and_told_so() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut arm = this.clone();
        arm[18..20].copy_from_slice(&183_u16.to_le_bytes());
        let mut object = this.clone();
        object[16..18].copy_from_slice(&1_u16.to_le_bytes());

        for (bytes, reason) in [
            (b"#!/bin/sh\n".to_vec(), "no ELF binary"),
            (arm, "another processor"),
            (object, "no program"),
        ] {
            let error = needs(&bytes).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
