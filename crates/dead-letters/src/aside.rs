//! Letters put aside in a file: all that is needed to send them again by hand.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use service_bus::{Properties, ReceivedMessage, Value};
use time::format_description::well_known::Rfc3339;

use crate::letter::Letter;

/// A file of letters, one a line, in JSON. Only appended to.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
    file: BufWriter<File>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(flatten)]
    letter: &'a Letter,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    properties: Map<String, Json>,
    /// As text where it is text.
    body: Json,
}

impl Aside {
    /// Opens the file, or makes it, readable for its owner only.
    ///
    /// # Errors
    /// As the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).read(true);
        // Bodies may say what is in a row.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        if is_cut_off(&mut file)? {
            // A run that broke off in the middle of a line must not spoil the next one.
            file.write_all(b"\n")?;
        }
        // The file's name, too, must be on the disk before a letter is gone.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a letter. It is safe only after [`sync`](Self::sync).
    pub(crate) fn write(&mut self, letter: &Letter, message: &ReceivedMessage) -> io::Result<()> {
        let line = Line {
            letter,
            session_id: message.session_id.as_deref(),
            content_type: message.content_type.as_deref(),
            subject: message.subject.as_deref(),
            partition_key: message.partition_key.as_deref(),
            reply_to: message.reply_to.as_deref(),
            to: message.to.as_deref(),
            properties: properties(&message.properties),
            body: match std::str::from_utf8(&message.body) {
                Ok(text) => json!(text),
                Err(_) => json!({ "base64": STANDARD.encode(&message.body) }),
            },
        };
        serde_json::to_writer(&mut self.file, &line)?;
        self.file.write_all(b"\n")
    }

    /// Waits until everything is on the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }
}

/// Whether the last line has no end.
fn is_cut_off(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn properties(properties: &Properties) -> Map<String, Json> {
    let each = properties.iter().map(|(name, value)| {
        let value = match value {
            Value::Null => Json::Null,
            Value::Bool(it) => json!(it),
            Value::Int(it) => json!(it),
            Value::Long(it) => json!(it),
            Value::Double(it) => json!(it),
            Value::String(it) => json!(it),
            Value::Uuid(it) => json!(it),
            Value::Timestamp(it) => json!(it.format(&Rfc3339).ok()),
            Value::Binary(it) => json!(STANDARD.encode(it)),
        };
        (name.clone(), value)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters.jsonl");
        for (before, after) in [("{}\n{\"num", "{}\n{\"num\n"), ("{}\n", "{}\n"), ("", "")] {
            std::fs::write(&path, before).unwrap();
            Aside::open(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }
}
