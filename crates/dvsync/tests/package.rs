//! `dvsync package` on a made-up binary: what is in the zips, that they are the same each time, and what
//! is refused. What it builds and how it runs, `.ci/run` and the command's own self-test look at.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use zip::{System, ZipArchive};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The files that packages are made of, and binaries which are none of ours.
struct Sources {
    folder: TempDir,
}

impl Sources {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for file in [
            "host.json",
            "sync.json",
            "sync.warehouse.json",
            "local.settings.json.example",
            "outbound-fn/Outbound/function.json",
            "outbound-fn/topic/Outbound/function.json",
            "inbound-fn/Inbound/function.json",
            "inbound-fn/OutboxSweep/function.json",
        ] {
            let to = folder.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(Path::new(REPOSITORY).join(file), to).unwrap();
        }
        let sources = Self { folder };
        fs::create_dir(sources.at("bin")).unwrap();
        for binary in ["outbound-fn", "inbound-fn"] {
            fs::write(sources.at("bin").join(binary), static_program()).unwrap();
        }
        sources
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_dvsync"))
            .arg("package")
            .arg("--root")
            .arg(self.folder.path())
            .arg("--binaries")
            .arg(self.at("bin"))
            .arg("--no-self-test")
            .args(arguments)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    fn packs(&self, arguments: &[&str]) -> String {
        let (done, text) = self.run(arguments);
        assert!(done, "{text}");
        text
    }

    fn refuses(&self, arguments: &[&str], reason: &str) {
        let (done, text) = self.run(arguments);
        assert!(!done && text.contains(reason), "{reason}: {text}");
    }

    fn names(&self, zip: &str) -> Vec<String> {
        let zip = ZipArchive::new(Cursor::new(fs::read(self.at(zip)).unwrap())).unwrap();
        zip.file_names()
            .map(|name| name.unwrap().into_owned())
            .collect()
    }
}

/// An ELF header of a position-independent program for x86-64 that asks for nothing.
fn static_program() -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16..18].copy_from_slice(&3_u16.to_le_bytes());
    header[18..20].copy_from_slice(&62_u16.to_le_bytes());
    header[20..24].copy_from_slice(&1_u32.to_le_bytes());
    header[52..54].copy_from_slice(&64_u16.to_le_bytes());
    header[54..56].copy_from_slice(&56_u16.to_le_bytes());
    header[58..60].copy_from_slice(&64_u16.to_le_bytes());
    header
}

#[test]
fn a_package_holds_what_the_host_needs_and_no_settings() {
    let sources = Sources::new();
    fs::write(
        sources.at("local.settings.json"),
        fs::read(sources.at("local.settings.json.example")).unwrap(),
    )
    .unwrap();

    sources.packs(&[]);

    assert_eq!(
        sources.names("dist/outbound.zip"),
        [
            "Outbound/function.json",
            "handler",
            "host.json",
            "sync.json"
        ]
    );
    assert_eq!(
        sources.names("dist/inbound.zip"),
        [
            "Inbound/function.json",
            "OutboxSweep/function.json",
            "handler",
            "host.json",
            "sync.json"
        ]
    );
}

#[test]
fn the_handler_is_executable_and_the_zip_was_made_on_unix() {
    let sources = Sources::new();

    sources.packs(&[]);

    let bytes = fs::read(sources.at("dist/outbound.zip")).unwrap();
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    for (name, mode) in [("handler", 0o100_755), ("host.json", 0o100_644)] {
        let file = zip.by_name(name).unwrap();
        assert_eq!(file.unix_mode(), Some(mode), "{name}");
        assert_eq!(file.system(), System::Unix, "{name}");
    }
}

#[test]
fn the_same_sources_in_another_folder_give_the_same_zips() {
    let (one, other) = (Sources::new(), Sources::new());

    one.packs(&[]);
    other.packs(&[]);

    for zip in ["dist/outbound.zip", "dist/inbound.zip"] {
        assert!(fs::read(one.at(zip)).unwrap() == fs::read(other.at(zip)).unwrap());
    }
}

#[test]
fn each_target_gets_an_outbound_zip_of_its_own_and_inbound_gets_all_sync_files() {
    let sources = Sources::new();

    sources.packs(&[
        "--topic",
        "--sync",
        "sync.json",
        "--sync",
        "sync.warehouse.json",
    ]);

    let warehouse = sources.names("dist/outbound-warehouse.zip");
    assert!(warehouse.contains(&"sync.warehouse.json".to_owned()));
    assert!(!warehouse.contains(&"sync.json".to_owned()));
    let inbound = sources.names("dist/inbound.zip");
    assert!(inbound.contains(&"sync.json".to_owned()));
    assert!(inbound.contains(&"sync.warehouse.json".to_owned()));
    let function = fs::read_to_string(sources.at("dist/outbound/Outbound/function.json")).unwrap();
    assert!(function.contains("topicName"));
}

#[test]
fn an_unpacked_app_has_settings_of_the_example_which_are_never_overwritten() {
    let sources = Sources::new();
    sources.packs(&["--topic", "--sync", "sync.warehouse.json"]);
    let settings = sources.at("dist/outbound/local.settings.json");
    let made: Value = serde_json::from_slice(&fs::read(&settings).unwrap()).unwrap();
    assert_eq!(made["Values"]["SYNC_FILES"], "sync.warehouse.json");
    let mode = fs::metadata(sources.at("dist/outbound/handler"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);

    fs::write(&settings, "mine").unwrap();
    sources.packs(&[]);

    assert_eq!(fs::read_to_string(&settings).unwrap(), "mine");
    assert!(!sources.at("dist/outbound/sync.warehouse.json").exists());
}

#[test]
fn what_was_packed_is_told_as_json() {
    let sources = Sources::new();

    let told: Value = serde_json::from_str(&sources.packs(&["--json"])).unwrap();

    assert_eq!(told.as_array().unwrap().len(), 2);
    assert_eq!(told[0]["glibc"], json!("none"));
    let bytes = fs::metadata(sources.at("dist/outbound.zip")).unwrap().len();
    assert_eq!(told[0]["bytes"], bytes);
    assert_eq!(told[0]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn a_wrong_sync_file_is_refused_before_anything_is_packed() {
    let sources = Sources::new();
    fs::write(
        sources.at("sync.json"),
        r#"{"targetSystem": "x", "tables": 3}"#,
    )
    .unwrap();

    sources.refuses(&[], "nothing was packed");
    assert!(!sources.at("dist/outbound.zip").exists());
}

#[test]
fn a_file_that_belongs_into_no_package_is_refused_by_name() {
    let sources = Sources::new();
    fs::write(sources.at("inbound-fn/Inbound/notes.txt"), "").unwrap();

    sources.refuses(&[], "Inbound/notes.txt is no file of a package");
}

#[test]
fn a_handler_that_would_not_start_is_refused_and_no_zip_of_it_is_written() {
    let sources = Sources::new();
    fs::write(sources.at("bin/outbound-fn"), "#!/bin/sh\n").unwrap();
    sources.refuses(&[], "no ELF binary");

    fs::remove_file(sources.at("bin/outbound-fn")).unwrap();
    sources.refuses(&[], "bin/outbound-fn");
    assert!(!sources.at("dist/outbound.zip").exists());
}

#[test]
fn a_sync_file_elsewhere_and_a_place_that_cannot_be_written_are_refused() {
    let sources = Sources::new();
    sources.refuses(&["--sync", "elsewhere/sync.json"], "lies beside host.json");

    fs::remove_dir_all(sources.at("dist")).unwrap();
    fs::write(sources.at("dist"), "a file").unwrap();
    sources.refuses(&[], "dist cannot be written to");
}

#[test]
fn a_missing_cargo_is_told_with_what_to_do() {
    let sources = Sources::new();
    let output = Command::new(env!("CARGO_BIN_EXE_dvsync"))
        .args(["package", "--no-self-test", "--root"])
        .arg(sources.folder.path())
        .env("CARGO", "/nowhere/cargo")
        .output()
        .unwrap();

    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("/nowhere/cargo cannot be started"),
        "{text}"
    );
}
