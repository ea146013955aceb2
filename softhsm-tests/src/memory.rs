//! Looks for bytes where they must not be: in text, in files, in another process's memory.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    thread,
    time::Duration,
};

use nix::unistd::Pid;

use crate::{daemon::Daemon, kind::Kind};

/// Bytes that must not be found, in each form that they could be printed in.
#[derive(Clone)]
pub struct Forbidden {
    name: &'static str,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Forbidden {
    /// `bytes`, called `name` when they are found.
    pub fn new(name: &'static str, bytes: &[u8]) -> Self {
        let hexadecimal = hex::encode(bytes);
        let numbers: Vec<_> = bytes.iter().map(ToString::to_string).collect();
        let mut forms = vec![
            ("raw", bytes.to_vec()),
            ("HEX", hexadecimal.to_uppercase().into_bytes()),
            ("hex", hexadecimal.into_bytes()),
            ("Debug", numbers.join(", ").into_bytes()),
        ];
        // Wherever in a longer text they were encoded: the groups of three that are
        // theirs alone.
        for skip in 0..3 {
            let whole = &bytes[skip..];
            let whole = &whole[..whole.len() - whole.len() % 3];
            if whole.len() >= 6 {
                forms.push(("base64", base64(whole)));
            }
        }
        Self { name, forms }
    }

    /// Where in `text` they are, in any form.
    pub fn in_bytes(&self, text: &[u8]) -> Vec<String> {
        let found = self.forms.iter().filter_map(|(form, bytes)| {
            let at = positions(text, bytes).next()?;
            Some(format!("{} as {form} at byte {at}", self.name))
        });
        found.collect()
    }

    /// Where in the memory of `process` they are, as they are. Needs root.
    pub fn in_memory(&self, process: Pid) -> Vec<String> {
        let (_, raw) = &self.forms[0];
        let mut found = Vec::new();
        regions(process, |region, start, bytes| {
            for at in positions(bytes, raw) {
                let near = &bytes[at.saturating_sub(32)..(at + raw.len() + 32).min(bytes.len())];
                found.push(format!(
                    "{} at {:#x} in {region}: …{}…",
                    self.name,
                    start + at as u64,
                    near.escape_ascii()
                ));
            }
        });
        found
    }
}

impl std::fmt::Debug for Forbidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Forbidden({})", self.name)
    }
}

/// Shows `look` all writable memory of `process`: name of the region, address, bytes.
fn regions(process: Pid, mut look: impl FnMut(&str, u64, &[u8])) {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("a live process");
    let memory = File::open(format!("/proc/{process}/mem")).expect("root reads any memory");
    let mut seen = 0;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (range, mode) = (
            words.next().expect("a range"),
            words.next().expect("a mode"),
        );
        if !mode.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').expect("a range");
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).expect("hex"));
        let mut bytes = vec![0; usize::try_from(end - start).expect("it fits")];
        // A region may have gone since.
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            seen += bytes.len();
            look(words.nth(3).unwrap_or("anonymous"), start, &bytes);
        }
    }
    assert!(seen > 1 << 20, "only {seen} bytes of memory could be read");
}

fn positions<'a>(text: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(from..)?;
            let at = from + rest.iter().position(|byte| *byte == wanted[0])?;
            from = at + 1;
            if text[at..].starts_with(wanted) {
                return Some(at);
            }
        }
    })
}

/// Fails if what is forbidden is in the memory of `process`, a moment after the last
/// request. What is shown to be found there shows that the search finds.
pub fn not_in_memory(process: Pid, there: &Forbidden, forbidden: &[Forbidden]) {
    thread::sleep(Duration::from_millis(300));
    assert_ne!(
        there.in_memory(process),
        [""; 0],
        "the search finds nothing at all"
    );
    for forbidden in forbidden {
        assert_eq!(forbidden.in_memory(process), [""; 0]);
    }
}

/// The same of a daemon and its worker, but for a worker whose module leaves there what it opened:
/// those of TPMs and of openCryptoki do.
pub fn not_in_their_memory(
    test: &str,
    daemon: &Daemon<'_>,
    there: &Forbidden,
    forbidden: &[Forbidden],
) {
    not_in_memory(daemon.pid(), there, forbidden);
    if Kind::has(test, "a module that wipes what it opened in the worker") {
        not_in_memory(daemon.worker(), there, forbidden);
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).flat_map(|group| {
        let all = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        [18, 12, 6, 0].map(|shift| LETTERS[(all >> shift & 63) as usize])
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_wherever_it_begins() {
        let forbidden = Forbidden::new("it", b"correct horse");
        // "xcorrect horse battery", in base64
        let encoded = b"eGNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==";
        for text in [
            &b"a correct horse b"[..],
            b"636F727265637420686f727365",
            encoded,
        ] {
            let upper = text.to_ascii_uppercase();
            let found = [forbidden.in_bytes(text), forbidden.in_bytes(&upper)].concat();
            assert!(!found.is_empty(), "{}", text.escape_ascii());
        }
        let debug = format!("{:?}", b"the correct horse");
        assert!(!forbidden.in_bytes(debug.as_bytes()).is_empty());
        assert!(forbidden.in_bytes(b"a wrong horse").is_empty());
    }
}
