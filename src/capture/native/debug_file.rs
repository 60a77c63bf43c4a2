//! Where the symbols of a module are: its own file, or a debug file that belongs to it.
//!
//! Searched in gdb's order: by build id, by `.gnu_debuglink`, then in the cache of `debuginfod`.
//! Nothing is fetched over the network. A debug file counts only if its build id or checksum says
//! that it belongs to the module.

use super::modules::{Module, hex, identity_of_file};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ReadCache};
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What reads a file part by part, as needed: debug files are larger than what is asked of them.
pub(super) type Cache = ReadCache<File>;
/// An object file of the only kind this process can load.
pub(super) type Elf<'file> = ElfFile64<'file, LittleEndian, &'file Cache>;

/// The root that paths are under, when binaries of another machine lie in a folder.
#[derive(Clone, Default, Debug)]
pub(super) struct Root(Option<PathBuf>);

impl Root {
    /// The root of the file system, or a folder in its place.
    pub(super) fn at(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    fn resolve(&self, path: &Path) -> PathBuf {
        match &self.0 {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_path_buf(),
        }
    }
}

/// Opens the module's own file, if it still is the file that was loaded.
pub(super) fn open_module(root: &Root, module: &Module) -> Option<Cache> {
    let path = root.resolve(Path::new(&module.path));
    let file = Cache::new(open_regular(&path)?);
    let identity = Elf::parse(&file).ok()?.build_id().ok()?.map(hex);
    if identity.is_none() && module.identity.is_empty() && root.0.is_some() {
        // Whoever names the folder vouches for files that cannot be told from others.
        return Some(file);
    }
    let identity = identity.unwrap_or_else(|| identity_of_file(&path));
    (identity == module.identity).then_some(file)
}

/// Opens the debug file that belongs to `elf`, the file of a module at `path`.
pub(super) fn open_debug_file(root: &Root, path: &Path, elf: &Elf<'_>) -> Option<Cache> {
    let build_id = elf.build_id().ok().flatten().map(hex);
    let by_build_id = build_id.as_deref().and_then(|id| open_by_id(root, id));
    by_build_id
        .or_else(|| open_by_link(root, path, elf))
        .or_else(|| open_fetched(build_id.as_deref()?))
}

/// Opens the file that a debug file shares strings and types with (`.gnu_debugaltlink`).
pub(super) fn open_shared(root: &Root, path: &Path, elf: &Elf<'_>) -> Option<Cache> {
    let (link, id) = elf.gnu_debugaltlink().ok()??;
    let link = Path::new(OsStr::from_bytes(link));
    let named = path.parent()?.join(link);
    [root.resolve(&named), root.resolve(&by_id(&hex(id))?)]
        .iter()
        .find_map(|path| with_id(path, &hex(id)))
}

fn by_id(build_id: &str) -> Option<PathBuf> {
    let (first, rest) = build_id.split_at_checked(2)?;
    Some(format!("/usr/lib/debug/.build-id/{first}/{rest}.debug").into())
}

fn open_by_id(root: &Root, build_id: &str) -> Option<Cache> {
    with_id(&root.resolve(&by_id(build_id)?), build_id)
}

/// What `debuginfod` clients of this user have fetched before.
fn open_fetched(build_id: &str) -> Option<Cache> {
    let in_cache = |folder: PathBuf| folder.join("debuginfod_client");
    let folder = env::var_os("DEBUGINFOD_CACHE_PATH").map(PathBuf::from);
    let folder = folder
        .or_else(|| Some(in_cache(env::var_os("XDG_CACHE_HOME")?.into())))
        .or_else(|| Some(in_cache(PathBuf::from(env::var_os("HOME")?).join(".cache"))))?;
    with_id(&folder.join(build_id).join("debuginfo"), build_id)
}

fn with_id(path: &Path, build_id: &str) -> Option<Cache> {
    let file = Cache::new(open_regular(path)?);
    let found = Elf::parse(&file).ok()?.build_id().ok()?.map(hex);
    (found.as_deref() == Some(build_id)).then_some(file)
}

fn open_by_link(root: &Root, path: &Path, elf: &Elf<'_>) -> Option<Cache> {
    let (name, checksum) = elf.gnu_debuglink().ok()??;
    let name = Path::new(OsStr::from_bytes(name));
    // A name with folders in it would lead out of the places below.
    let name = name.file_name().filter(|&only| only == name.as_os_str())?;
    let folder = path.parent()?;
    let global = Path::new("/usr/lib/debug").join(folder.strip_prefix("/").unwrap_or(folder));
    [
        folder.join(name),
        folder.join(".debug").join(name),
        global.join(name),
    ]
    .iter()
    .map(|place| root.resolve(place))
    .find_map(|place| with_checksum(&place, checksum))
}

fn with_checksum(path: &Path, checksum: u32) -> Option<Cache> {
    (checksum_of(open_regular(path)?)? == checksum).then(|| open_regular(path).map(Cache::new))?
}

/// CRC-32 as `.gnu_debuglink` defines it.
fn checksum_of(mut file: File) -> Option<u32> {
    let table: Vec<u32> = (0..=u8::MAX).map(checksum_step).collect();
    let mut chunk = vec![0; 1 << 16];
    let mut sum = u32::MAX;
    loop {
        let length = file.read(&mut chunk).ok()?;
        if length == 0 {
            return Some(!sum);
        }
        for &byte in chunk.get(..length)? {
            let [low, ..] = sum.to_le_bytes();
            sum = table.get(usize::from(low ^ byte))? ^ (sum >> 8);
        }
    }
}

fn checksum_step(byte: u8) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    (0..8).fold(u32::from(byte), |value, _| {
        let rest = value >> 1;
        if value & 1 == 1 {
            rest ^ POLYNOMIAL
        } else {
            rest
        }
    })
}

/// Only regular files: a module's path may name a device or a pipe by now.
fn open_regular(path: &Path) -> Option<File> {
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    if is_file { File::open(path).ok() } else { None }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_another_by_now_is_not_opened() {
        let path = env::current_exe().expect("this test");
        let path = path.to_string_lossy().into_owned();
        let module = |identity: String| Module {
            path: path.clone(),
            identity,
            bias: 0,
        };
        let file = Cache::new(File::open(&path).expect("this test"));
        let id = Elf::parse(&file)
            .expect("an object file")
            .build_id()
            .expect("notes")
            .map(hex);
        let identity = id.unwrap_or_else(|| identity_of_file(Path::new(&path)));
        let root = Root::default();
        assert!(open_module(&root, &module(identity)).is_some());
        assert!(open_module(&root, &module("00ff".to_owned())).is_none());
        assert!(open_module(&root, &module(String::new())).is_none());
    }

    #[test]
    fn the_checksum_is_the_one_of_debug_links() {
        let path = env::temp_dir().join(format!("heapledger-checksum-{}", std::process::id()));
        std::fs::write(&path, b"123456789").expect("a file");
        let file = File::open(&path).expect("the file");
        let _ = std::fs::remove_file(&path);
        assert_eq!(checksum_of(file), Some(0xcbf4_3926));
    }

    #[test]
    fn paths_of_another_machine_stay_under_its_root() {
        let root = Root(Some("/images/a".into()));
        assert_eq!(
            root.resolve(Path::new("/usr/lib/x.so")),
            Path::new("/images/a/usr/lib/x.so")
        );
        assert_eq!(Root::default().resolve(Path::new("/x")), Path::new("/x"));
        assert!(open_regular(Path::new("/dev/zero")).is_none());
    }
}
