//! What a built-in image consists of: the running executable and the libraries it has mapped.
//!
//! ```text
//!   /usr/bin/zddcluster              /proc/self/exe: the running file even if it was replaced on disk
//!   /usr/lib/…/libc.so.6             every library of /proc/self/maps, where it is mapped from, with the links to it
//!   /lib64/ld-linux-x86-64.so.2      the interpreter, by the name the executable asks for
//!   /etc/passwd, /etc/group, /tmp    so that users have names and programs a place
//! ```
//!
//! Needs neither a static build nor a registry. Everything is owned by root and dated 1970, so that the same files make the
//! same image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the executable is in the image.
pub(crate) const EXECUTABLE: &str = "/usr/bin/zddcluster";

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// One entry of the image, by its path without the leading slash.
#[derive(Debug)]
enum Entry {
    Directory { mode: u32 },
    File { file: File, mode: u32 },
    Text(&'static str),
    Link { target: PathBuf },
}

/// The files of an image.
#[derive(Debug)]
pub(crate) struct Bundle {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Bundle {
    /// Of the process that runs now. Blocks.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let executable = File::open("/proc/self/exe")?;
        let executable_path = std::fs::read_link("/proc/self/exe")?;
        let mut bundle = Self {
            entries: BTreeMap::new(),
        };
        for library in mapped_files(
            &std::fs::read_to_string("/proc/self/maps")?,
            &executable_path,
        ) {
            bundle.add_file(&library, File::open(&library)?);
            bundle.add_links_to(&library)?;
        }
        if let Some(interpreter) = interpreter(&executable)? {
            bundle.add_file(&interpreter, File::open(&interpreter)?);
        }
        bundle.add_file(Path::new(EXECUTABLE), executable);
        bundle.add(Path::new("/etc/passwd"), Entry::Text(PASSWD));
        bundle.add(Path::new("/etc/group"), Entry::Text(GROUP));
        bundle.add(Path::new("/tmp"), Entry::Directory { mode: 0o1777 });
        bundle.add(Path::new("/root"), Entry::Directory { mode: 0o700 });
        Ok(bundle)
    }

    /// Writes it as a tar; the same bytes each time.
    pub(crate) fn write(&self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        for (path, entry) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            match entry {
                Entry::Directory { mode } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    tar.append_data(&mut header, path, io::empty())?;
                }
                Entry::File { file, mode } => {
                    let size = file.metadata()?.len();
                    header.set_mode(*mode);
                    header.set_size(size);
                    // Read by offset: the handle's own position belongs to nobody.
                    let content = At { file, offset: 0 }.take(size);
                    tar.append_data(&mut header, path, content)?;
                }
                Entry::Text(text) => {
                    header.set_mode(0o644);
                    header.set_size(text.len() as u64);
                    tar.append_data(&mut header, path, text.as_bytes())?;
                }
                Entry::Link { target } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        tar.into_inner()?.flush()
    }

    fn add_file(&mut self, path: &Path, file: File) {
        self.add(path, Entry::File { file, mode: 0o755 });
    }

    fn add(&mut self, path: &Path, entry: Entry) {
        let inside = path.strip_prefix("/").unwrap_or(path);
        // With modes of our choice: an engine makes missing directories for root only.
        for parent in inside
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            self.entries
                .entry(parent.to_owned())
                .or_insert(Entry::Directory { mode: 0o755 });
        }
        self.entries.insert(inside.to_owned(), entry);
    }

    /// The other names of a library in its directory: it may be asked for by `libc.so.6` and mapped as `libc-2.31.so`.
    fn add_links_to(&mut self, library: &Path) -> io::Result<()> {
        let Some(directory) = library.parent() else {
            return Ok(());
        };
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if !entry.file_type()?.is_symlink() {
                continue;
            }
            let path = entry.path();
            if path.canonicalize().is_ok_and(|target| target == library)
                && let Some(name) = library.file_name()
            {
                self.add(
                    &path,
                    Entry::Link {
                        target: name.into(),
                    },
                );
            }
        }
        Ok(())
    }
}

/// Reads a file from an offset on, without moving its position.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

/// The files with code in a memory map, but for the executable itself.
fn mapped_files(maps: &str, executable: &Path) -> BTreeSet<PathBuf> {
    let file = |line: &str| {
        // address perms offset dev inode path
        let mut fields = line.splitn(6, char::is_whitespace);
        let permissions = fields.nth(1)?;
        let path = fields.nth(3)?.trim_start();
        let is_code =
            permissions.contains('x') && path.starts_with('/') && !path.ends_with(" (deleted)");
        (is_code && Path::new(path) != executable).then(|| PathBuf::from(path))
    };
    maps.lines().filter_map(file).collect()
}

/// The interpreter a 64-bit little-endian ELF file asks for; `None` for a static one.
///
/// Source: elf(5). Offsets: `e_phoff` 32, `e_phentsize` 54, `e_phnum` 56; in a header `p_type` 0, `p_offset` 8, `p_filesz` 32.
fn interpreter(executable: &File) -> io::Result<Option<PathBuf>> {
    const PT_INTERP: u32 = 3;
    let odd = |what: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("this executable {what}"),
        )
    };
    let mut header = [0; 64];
    executable.read_exact_at(&mut header, 0)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(odd("is no 64-bit little-endian ELF file"));
    }
    let size = u64::from(u16_at(&header, 54));
    let first = u64_at(&header, 32);
    for index in 0..u64::from(u16_at(&header, 56)) {
        let mut program = [0; 56];
        executable.read_exact_at(&mut program, first + index * size)?;
        if u32::from(u16_at(&program, 0)) | u32::from(u16_at(&program, 2)) << 16 != PT_INTERP {
            continue;
        }
        let n_bytes = usize::try_from(u64_at(&program, 32)).map_err(io::Error::other)?;
        // A path of the kernel's own limit at most.
        if n_bytes > 4096 {
            return Err(odd("names no sensible interpreter"));
        }
        let mut name = vec![0; n_bytes];
        executable.read_exact_at(&mut name, u64_at(&program, 8))?;
        let name = String::from_utf8(name).map_err(|_| odd("names no sensible interpreter"))?;
        return Ok(Some(PathBuf::from(name.trim_end_matches('\0'))));
    }
    Ok(None)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_a_map() {
        let maps = "\
55d0-55d1 r--p 00000000 fe:01 11 /opt/my app/zddcluster
55d1-55d2 r-xp 00001000 fe:01 11 /opt/my app/zddcluster
7f00-7f01 r-xp 00026000 fe:01 22                         /usr/lib/x86_64-linux-gnu/libc.so.6
7f01-7f02 r--p 00026000 fe:01 33                         /usr/share/locale/locale-archive
7f02-7f03 r-xp 00026000 fe:01 44                         /usr/lib/gone.so (deleted)
7ffc-7ffd rw-p 00000000 00:00 0                          [stack]
7ffd-7ffe r-xp 00000000 00:00 0                          [vdso]
7ffe-7fff rwxp 00000000 00:00 0 ";
        let found = mapped_files(maps, Path::new("/opt/my app/zddcluster"));
        assert_eq!(
            found,
            BTreeSet::from(["/usr/lib/x86_64-linux-gnu/libc.so.6".into()])
        );
    }

    #[test]
    fn this_process_bundles() {
        let bundle = Bundle::of_this_process().unwrap();
        let mut tar = Vec::new();
        bundle.write(&mut tar).unwrap();
        let mut again = Vec::new();
        bundle.write(&mut again).unwrap();
        assert!(tar == again, "the same files make the same image");

        let mut archive = tar::Archive::new(tar.as_slice());
        let paths: BTreeSet<PathBuf> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().into_owned())
            .collect();
        let inside = |path: &str| paths.contains(Path::new(path.trim_start_matches('/')));
        assert!(inside(EXECUTABLE) && inside("etc/passwd"), "{paths:?}");
        let interpreter = interpreter(&File::open("/proc/self/exe").unwrap()).unwrap();
        if let Some(interpreter) = interpreter {
            assert!(inside(interpreter.to_str().unwrap()), "{paths:?}");
            let has_libc = paths
                .iter()
                .any(|path| path.to_string_lossy().contains("libc"));
            assert!(has_libc, "{paths:?}");
        }
    }
}
