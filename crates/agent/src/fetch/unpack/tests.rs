use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use tar::{Builder, Header};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::fetch::Limits;

/// What an archive is made of: kind, path, mode, content or target.
type Part<'a> = (EntryType, &'a str, u32, &'a str);

const FILE: EntryType = EntryType::Regular;

/// Paths as they stand here: a builder would refuse those that an attacker writes.
fn tar_of(parts: &[Part<'_>]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for &(kind, path, mode, content) in parts {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        let content = match kind {
            EntryType::Symlink | EntryType::Link => {
                header.set_link_name_literal(content).unwrap();
                ""
            }
            _ => content,
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

struct World {
    dir: TempDir,
    limits: Limits,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sandbox")).unwrap();
        Self {
            dir,
            limits: Limits::DEFAULT,
        }
    }

    fn sandbox(&self) -> PathBuf {
        self.dir.path().join("sandbox")
    }

    fn unpack(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.dir.path().join("packed");
        fs::write(&path, bytes).unwrap();
        let (sandbox, nobody) = (self.sandbox(), CancellationToken::new());
        let mut place = Place::new(&sandbox, None, self.limits, &nobody);
        let name = Path::new(name);
        Format::of(name)
            .unwrap()
            .unpack(name, File::open(path).unwrap(), &mut place)
            .map_err(|error| zddcluster_runtime::chain(&error))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox().join(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        let metadata = fs::metadata(self.sandbox().join(name)).unwrap();
        metadata.permissions().mode() & 0o7777
    }
}

#[test]
fn every_packing_of_a_tar() {
    let plain = tar_of(&[
        (EntryType::XGlobalHeader, "pax_global_header", 0o644, ""),
        (EntryType::Directory, "./", 0o755, ""),
        (EntryType::Directory, "app/", 0o555, ""),
        (FILE, "app/run", 0o4755, "#!/bin/sh"),
        (FILE, "deep/er/file", 0o640, "content"),
        (EntryType::Symlink, "app/link", 0o777, "../deep/er/file"),
        (EntryType::Link, "second", 0o644, "deep/er/file"),
    ]);
    let gzip = {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&plain).unwrap();
        packed.finish().unwrap()
    };
    let bzip2 = {
        let mut packed = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        packed.write_all(&plain).unwrap();
        packed.finish().unwrap()
    };
    let xz = {
        let mut packed = XzWriter::new(Vec::new(), XzOptions::with_preset(1)).unwrap();
        packed.write_all(&plain).unwrap();
        packed.finish().unwrap()
    };
    for (name, bytes) in [
        ("a.tar", &plain),
        ("a.tgz", &gzip),
        ("a.tar.gz", &gzip),
        ("a.tbz2", &bzip2),
        ("a.tar.bz2", &bzip2),
        ("a.txz", &xz),
        ("a.tar.xz", &xz),
    ] {
        let world = World::new();
        world.unpack(name, bytes).unwrap();
        assert_eq!(world.read("app/run"), "#!/bin/sh", "{name}");
        assert_eq!(world.read("app/link"), "content", "{name}");
        assert_eq!(world.read("second"), "content", "{name}");
        // Neither set-user-ID nor a directory that its owner cannot use.
        assert_eq!(world.mode("app/run"), 0o755, "{name}");
        assert_eq!(world.mode("app"), 0o755, "{name}");
        assert_eq!(world.mode("deep/er/file"), 0o640, "{name}");
        // Once more over what is there.
        world.unpack(name, bytes).unwrap();
        // The half of it is no archive.
        let error = world.unpack(name, &bytes[..bytes.len() / 2]);
        assert!(error.is_err(), "{name}");
    }
}

#[test]
fn one_file_and_a_zip() {
    let world = World::new();
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"lines").unwrap();
    world
        .unpack("data/words.txt.gz", &packed.finish().unwrap())
        .unwrap();
    assert_eq!(world.read("words.txt"), "lines");

    let mut packed = ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    packed.add_directory("app", options).unwrap();
    packed
        .start_file("app/run", options.unix_permissions(0o755))
        .unwrap();
    packed.write_all(b"#!/bin/sh").unwrap();
    packed.add_symlink("run", "app/run", options).unwrap();
    let bytes = packed.finish().unwrap().into_inner();
    world.unpack("a.zip", &bytes).unwrap();
    assert_eq!(world.read("run"), "#!/bin/sh");
    assert_eq!(world.mode("app/run"), 0o755);
    let error = world.unpack("a.zip", b"no archive at all").unwrap_err();
    assert!(error.contains("no .zip that can be unpacked"), "{error}");
}

#[test]
fn nothing_gets_out_of_the_sandbox() {
    let world = World::new();
    let precious = world.dir.path().join("precious");
    fs::write(&precious, "kept").unwrap();
    let (link, hard) = (EntryType::Symlink, EntryType::Link);
    let outside = precious.to_str().unwrap();
    for (parts, why) in [
        (
            &[(FILE, "../precious", 0o644, "lost")][..],
            "'../precious' would be outside",
        ),
        (
            &[(FILE, "a/../../precious", 0o644, "lost")],
            "would be outside",
        ),
        (
            &[(FILE, "/tmp/zdd-precious", 0o644, "lost")],
            "would be outside",
        ),
        (&[(link, "up", 0o777, "..")], "'up' is a link to '..'"),
        (
            &[(link, "a/up", 0o777, "../../precious")],
            "is outside of the sandbox",
        ),
        (&[(link, "root", 0o777, "/")], "'root' is a link to '/'"),
        (
            &[(hard, "second", 0o777, "../precious")],
            "is outside of the sandbox",
        ),
        (
            &[(hard, "second", 0o777, outside)],
            "is outside of the sandbox",
        ),
        // By its text it stays inside; through the first link it would not.
        (
            &[
                (link, "here", 0o777, "."),
                (link, "up", 0o777, "here/.."),
                (FILE, "up/precious", 0o644, "lost"),
            ],
            "through something that is no directory",
        ),
        (
            &[
                (link, "here", 0o777, "."),
                (link, "up", 0o777, "here/../precious"),
                (hard, "second", 0o777, "up"),
            ],
            "no file of it",
        ),
        (
            &[(EntryType::Fifo, "pipe", 0o644, "")],
            "'pipe' is neither a file",
        ),
        (&[(EntryType::Char, "null", 0o666, "")], "'null' is neither"),
    ] {
        let error = world.unpack("a.tar", &tar_of(parts)).unwrap_err();
        assert!(error.contains(why), "{parts:?}: {error}");
    }
    // A link that is there is replaced, never written through.
    let through = [
        (link, "here", 0o777, "."),
        (link, "precious", 0o777, "here/../precious"),
        (FILE, "precious", 0o644, "inside"),
    ];
    world.unpack("a.tar", &tar_of(&through)).unwrap();
    assert_eq!(world.read("precious"), "inside");
    assert_eq!(fs::read_to_string(precious).unwrap(), "kept");

    let mut packed = ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    packed.start_file("../precious", options).unwrap();
    let bytes = packed.finish().unwrap().into_inner();
    let error = world.unpack("a.zip", &bytes).unwrap_err();
    assert!(error.contains("'../precious' would be outside"), "{error}");
}

#[test]
fn an_archive_is_limited() {
    let mut world = World::new();
    world.limits = Limits {
        unpacked: 1000,
        entries: 3,
        ..Limits::DEFAULT
    };
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![0; 1 << 20]).unwrap();
    let error = world
        .unpack("zeros.gz", &packed.finish().unwrap())
        .unwrap_err();
    assert_eq!(error, "it is larger than 1000 bytes");
    assert!(
        !world.sandbox().join("zeros").exists(),
        "a part of it stays"
    );

    let many = ["a", "b", "c", "d"].map(|name| (FILE, name, 0o644, ""));
    let error = world.unpack("many.tar", &tar_of(&many)).unwrap_err();
    assert_eq!(error, "it holds more than 3 files");

    // The name of a file, two megabytes of it.
    let name = "a".repeat(2 << 20);
    let long = tar_of(&[(EntryType::GNULongName, "././@LongLink", 0o644, &name)]);
    let error = world.unpack("long.tar", &long).unwrap_err();
    assert!(error.contains("too long"), "{error}");
}
