//! Templates, as `custodyctl inject` reads them: what is read comes to the same when it is
//! written again, with placeholders and escapes where they were.
#![no_main]

#[rustfmt::skip]
#[path = "../../client/src/bin/custodyctl/inject/template.rs"]
mod template;

use libfuzzer_sys::fuzz_target;
use template::Piece;

fuzz_target!(|file: &[u8]| {
    let Ok(pieces) = template::parse(file) else {
        return;
    };
    let mut written = Vec::new();
    for piece in &pieces {
        match piece {
            Piece::Text(text) => written.extend_from_slice(text),
            Piece::Placeholder(placeholder) => {
                assert!(placeholder.at.line > 0 && placeholder.at.column > 0);
                written.extend(format!("{{{{{}}}}}", placeholder.reference).into_bytes());
            }
        }
    }
    assert!(
        written.len() <= file.len(),
        "blanks and escapes go, and nothing comes"
    );
    let is_text = |piece: &Piece<'_>| matches!(piece, Piece::Text(_));
    if pieces.iter().all(is_text) && !file.windows(9).any(|part| part == b"!custody:") {
        assert_eq!(written, file, "text stays as it is");
    }
});
