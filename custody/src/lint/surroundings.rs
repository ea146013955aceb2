//! The machine that a grant is for, as far as judging it takes.

/// What was looked up about the things that a grant names. What is unknown is `None`,
/// and gives no finding.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Name of the user whose id is demanded.
    pub user: Option<String>,
    /// The unit that is demanded.
    pub unit: Option<Unit>,
    /// The file at the path that is demanded.
    pub exe: Option<File>,
    /// Whether a file that is not here was looked for, and is not there.
    pub is_complete: bool,
    /// Interpreters of this machine: SHA-256 in hexadecimal or fs-verity digest, and path.
    pub interpreters: Vec<(String, String)>,
}

impl Surroundings {
    /// The interpreter whose file has this digest.
    pub(super) fn interpreter_of(&self, digest: &str) -> Option<&str> {
        let mut known = self.interpreters.iter();
        known.find_map(|(known, path)| (known == digest).then_some(path.as_str()))
    }
}

/// A unit of the system's service manager.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// Whether the service manager knows it.
    pub is_loaded: bool,
    /// Whether it is given a control group of its own to do with as it likes.
    pub is_delegated: bool,
    /// Its present run.
    pub invocation: Option<String>,
}

/// A file, and all there is on the way to it.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path without symbolic links.
    pub real_path: String,
    /// The file and each folder above it.
    pub places: Vec<Place>,
    /// Whether it is setuid or setgid.
    pub runs_as_other: bool,
}

/// A file or folder.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its path.
    pub path: String,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its mode's lowest twelve bits.
    pub mode: u32,
}

impl Place {
    /// Whether others than its owner may change it, or what is in it.
    pub(super) fn is_open(&self) -> bool {
        let group = self.mode & 0o020 != 0 && self.gid != 0;
        // In a sticky folder nobody replaces what is another's.
        let others = self.mode & 0o002 != 0 && self.mode & 0o1000 == 0;
        group || others
    }
}
