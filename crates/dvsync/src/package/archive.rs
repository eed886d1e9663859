//! The zip: equal bytes for equal contents, and made on unix, so that its permissions count.

use std::io::{Cursor, Read, Write};

use anyhow::{Context, bail};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipArchive, ZipWriter};

use super::contents::{Contents, Entry};

/// zlib's best; the size of a package is part of the time a new instance takes to start.
const LEVEL: i64 = 9;

/// Packs an app. The time of every file is the earliest that a zip can say.
pub(super) fn pack(contents: &Contents) -> anyhow::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, entry) in &contents.entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .last_modified_time(DateTime::default())
            .system(System::Unix)
            .unix_permissions(entry.mode);
        zip.start_file(name.as_str(), options)?;
        zip.write_all(&entry.bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// What is in a zip.
pub(super) fn unpack(bytes: &[u8]) -> anyhow::Result<Vec<(String, Entry)>> {
    let mut zip = ZipArchive::new(Cursor::new(bytes))?;
    let mut entries = Vec::new();
    for place in 0..zip.len() {
        let mut file = zip.by_index(place)?;
        let name = file.name()?.into_owned();
        if file.enclosed_name().is_none() {
            bail!("{name} leads out of the package");
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mode = file
            .unix_mode()
            .with_context(|| format!("{name} has no unix permissions"))?;
        entries.push((
            name,
            Entry {
                bytes,
                mode: mode & 0o777,
            },
        ));
    }
    Ok(entries)
}
