//! Templates: text, and in it references to what is to stand in their place.

use custody::reference::{self, Reference};

/// What begins a placeholder, white space and then `custody:` behind it.
const OPEN: &[u8] = b"{{";

const CLOSE: &[u8] = b"}}";

/// What a placeholder's reference begins with. Whatever else is in braces belongs to others.
const SCHEME: &[u8] = b"custody:";

/// Before the reference, makes a placeholder text: it is left out, and the rest stays.
const ESCAPE: u8 = b'!';

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Stays as it is.
    Text(&'a [u8]),
    /// Gives way to what it refers to.
    Placeholder(Placeholder),
}

/// A reference, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    pub(crate) reference: Reference,
    pub(crate) at: Position,
}

/// A place in a text. Both are counted from 1, columns in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("a placeholder is not closed with '}}}}' on its line")]
    Open,
    #[error(transparent)]
    Reference(#[from] reference::Error),
}

/// Takes a template apart.
///
/// A placeholder is a reference in double braces, on one line, with or without blanks around
/// it: `{{custody:web/db#password}}`. With `!` before the reference (`{{!custody:…}}`) it is
/// text, without the `!`; with two, one is left. Braces around anything else are text.
///
/// # Errors
///
/// The first placeholder that is none, and where it begins.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Piece<'_>>, (Position, Error)> {
    let mut pieces = Vec::new();
    // Where the text begins that is not taken yet, and where the search goes on.
    let (mut start, mut from) = (0, 0);
    let mut reader = Reader::new(text);
    while let Some(found) = find(&text[from..], OPEN) {
        let open = from + found;
        let inner = open + OPEN.len();
        let blanks = blanks(&text[inner..]);
        let marks = count(&text[inner + blanks..], ESCAPE);
        let reference = inner + blanks + marks;
        if !text[reference..].starts_with(SCHEME) {
            from = open + 1;
            continue;
        }
        if marks > 0 {
            pieces.push(Piece::Text(&text[start..reference - 1]));
            (start, from) = (reference, reference);
            continue;
        }
        let at = reader.position(open);
        let line = text[reference..].split(|&byte| byte == b'\n').next();
        let length = line.and_then(|line| find(line, CLOSE));
        let length = length.ok_or((at, Error::Open))?;
        let written = text[reference..reference + length].trim_ascii_end();
        let written = str::from_utf8(written).map_err(|_| (at, reference::Error::Form.into()))?;
        let parsed = written
            .parse()
            .map_err(|why: reference::Error| (at, why.into()))?;
        pieces.push(Piece::Text(&text[start..open]));
        pieces.push(Piece::Placeholder(Placeholder {
            reference: parsed,
            at,
        }));
        start = reference + length + CLOSE.len();
        from = start;
    }
    pieces.push(Piece::Text(&text[start..]));
    pieces.retain(|piece| !matches!(piece, Piece::Text([])));
    Ok(pieces)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn blanks(text: &[u8]) -> usize {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    text.iter().take_while(is_blank).count()
}

fn count(text: &[u8], what: u8) -> usize {
    text.iter().take_while(|&&byte| byte == what).count()
}

/// Tells places in a text, from its beginning on, each byte of which is looked at once.
struct Reader<'a> {
    text: &'a [u8],
    read: usize,
    line: usize,
    line_start: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            read: 0,
            line: 1,
            line_start: 0,
        }
    }

    /// Where the byte number `at` is, which is behind those that were asked for before.
    fn position(&mut self, at: usize) -> Position {
        for read in self.read..at {
            if self.text[read] == b'\n' {
                self.line += 1;
                self.line_start = read + 1;
            }
        }
        self.read = at;
        Position {
            line: self.line,
            column: 1 + at - self.line_start,
        }
    }
}

#[cfg(test)]
mod tests;
