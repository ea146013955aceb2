//! The files of a journal, in order.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Error;

/// The segments in `directory`, oldest first.
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let segments = numbered(directory)?.into_iter();
    Ok(segments.map(|(_, path)| path).collect())
}

/// The segment where entry `wanted` belongs, after the number of its first entry.
pub(super) fn holding(directory: &Path, wanted: u64) -> Result<Option<(u64, PathBuf)>, Error> {
    let segments = numbered(directory)?.into_iter().rev();
    let mut earlier = segments.skip_while(|(first, _)| *first > wanted);
    Ok(earlier.next())
}

fn numbered(directory: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let failed = |error| Error::Read(directory.to_owned(), error);
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(first) = name.to_str().and_then(number) {
            segments.push((first, directory.join(name)));
        }
    }
    if segments.is_empty() {
        return Err(Error::NoSegment(directory.to_owned()));
    }
    segments.sort();
    Ok(segments)
}

/// The number in `journal-%020d.jsonl`.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".jsonl")?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Read(path, error)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn only_segments_are_segments() {
        assert_eq!(number("journal-00000000000000000042.jsonl"), Some(42));
        for name in [
            "journal-42.jsonl",
            "journal-00000000000000000042.jsonl.gz",
            "journal-0000000000000000004x.jsonl",
            "journal-99999999999999999999.jsonl",
        ] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
