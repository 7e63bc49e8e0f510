//! Pieces of files, and the ways out of a sandbox that must not be.

use std::os::unix::fs::symlink;

use super::*;

struct Fixture {
    _root: tempfile::TempDir,
    sandboxes: Sandboxes,
    directory: String,
}

fn fixture() -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let work_dir = root.path().canonicalize().unwrap().join("work");
    let directory = work_dir.join("slaves/S1/frameworks/F/executors/t.1/runs/c1");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(work_dir.join("secret"), "secret").unwrap();
    let directory = directory.display().to_string();
    Fixture {
        sandboxes: Sandboxes::new(&work_dir),
        directory,
        _root: root,
    }
}

impl Fixture {
    fn put(&self, name: &str, content: &[u8]) {
        std::fs::write(format!("{}/{name}", self.directory), content).unwrap();
    }

    #[track_caller]
    fn check(&self, offset: i64, length: i64, data: &str, at: u64) {
        let piece = self
            .sandboxes
            .read(
                &format!("{}/stdout", self.directory),
                u64::try_from(offset).ok(),
                u64::try_from(length).ok(),
            )
            .unwrap();
        assert_eq!((piece.text().as_str(), piece.offset), (data, at));
    }
}

#[test]
fn pieces_as_clients_ask_for_them() {
    let it = fixture();
    it.put("stdout", b"0123456789");
    it.check(-1, 0, "", 10);
    it.check(0, -1, "0123456789", 0);
    it.check(7, 2, "78", 7);
    it.check(7, 99, "789", 7);
    it.check(10, -1, "", 10);
    it.check(99, 5, "", 10);
    it.check(0, 0, "", 0);
}

#[test]
fn never_half_a_character_at_the_end() {
    let it = fixture();
    it.put("stdout", "aä€z".as_bytes());
    it.check(0, 2, "a", 0);
    it.check(0, 3, "aä", 0);
    it.check(0, 5, "aä", 0);
    it.check(0, -1, "aä€z", 0);
    // From the middle of a character, and a lone part of one: something must come, or the client takes it for the end.
    it.check(2, 1, "?", 2);
    it.check(1, 1, "?", 1);
    it.check(2, 3, "?", 2);
    it.put("stdout", b"\xffabc\xe2\x82");
    it.check(0, -1, "?abc", 0);
}

#[test]
fn long_files_come_in_parts() {
    let it = fixture();
    it.put("stdout", &vec![b'x'; 200_000]);
    let read = |offset| {
        it.sandboxes
            .read(&format!("{}/stdout", it.directory), Some(offset), None)
            .unwrap()
            .data
            .len()
    };
    assert_eq!(read(0), 65_536);
    assert_eq!(read(199_000), 1_000);
}

#[test]
fn nothing_outside_is_shown() {
    let it = fixture();
    let directory = Path::new(&it.directory);
    let work_dir = it.sandboxes.work_dir.clone();
    symlink(work_dir.join("secret"), directory.join("absolute")).unwrap();
    symlink("../../../../../../../../secret", directory.join("relative")).unwrap();
    symlink("/proc/self/root", directory.join("root")).unwrap();
    symlink("stdout", directory.join("inside")).unwrap();
    it.put("stdout", b"log");
    let read = |path: &str| {
        it.sandboxes
            .read(path, Some(0), None)
            .map(|piece| piece.text())
    };
    let inside = |name: &str| read(&format!("{}/{name}", it.directory));
    assert_eq!(inside("inside").unwrap(), "log");
    for name in [
        "absolute",
        "relative",
        "root/etc/passwd",
        "../../../../../../../../secret",
        "x/../stdout",
    ] {
        assert!(
            matches!(inside(name), Err(FileError::Outside)),
            "{name}: {:?}",
            inside(name)
        );
    }
    for path in [
        "/etc/passwd",
        "secret",
        "",
        &work_dir.join("secret").display().to_string(),
    ] {
        assert!(matches!(read(path), Err(FileError::NotFound)), "{path}");
    }
    assert!(matches!(inside("nothing"), Err(FileError::NotFound)));
    assert!(matches!(
        it.sandboxes.browse(&work_dir.display().to_string()),
        Err(FileError::NotFound)
    ));
}

#[test]
fn a_sandbox_that_became_a_link_is_not_followed() {
    let it = fixture();
    std::fs::remove_dir(&it.directory).unwrap();
    symlink("/etc", &it.directory).unwrap();
    let read = it
        .sandboxes
        .read(&format!("{}/passwd", it.directory), Some(0), None);
    assert!(matches!(read, Err(FileError::Outside)), "{read:?}");
}

#[test]
fn a_pipe_does_not_hang_the_reader() {
    let it = fixture();
    let path = format!("{}/pipe", it.directory);
    rustix::fs::mknodat(
        CWD,
        &path,
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(matches!(
        it.sandboxes.read(&path, Some(0), None),
        Err(FileError::NotAFile)
    ));
}

#[test]
fn listings_name_whole_paths() {
    let it = fixture();
    it.put("stdout", b"12345");
    std::fs::create_dir(format!("{}/data", it.directory)).unwrap();
    let entries = it.sandboxes.browse(&format!("{}/.", it.directory)).unwrap();
    let shown: Vec<(String, &str, u64)> = entries
        .iter()
        .map(|entry| (entry.path.clone(), &entry.mode[..4], entry.size))
        .collect();
    assert_eq!(shown[0].0, format!("{}/data", it.directory));
    assert_eq!(shown[0].1, "drwx");
    assert_eq!(shown[1], (format!("{}/stdout", it.directory), "-rw-", 5));
}
