//! Files of environment variables, as systemd, Docker Compose and the dotenv libraries
//! read them.

use zeroize::Zeroizing;

use crate::secret::{Fields, Refused, x509::invalid};

/// A line for each field: its name in capitals, with `_` for what variables cannot have.
pub(super) fn write(fields: &Fields) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let mut written = Zeroizing::new(Vec::with_capacity(2 * fields.size() + 64 * fields.len()));
    let mut seen: Vec<(String, &str)> = Vec::new();
    for (field, value) in fields.iter() {
        let name = variable(field).ok_or_else(|| {
            invalid(format!(
                "the field {field:?} begins with a digit, as no variable does"
            ))
        })?;
        if let Some((_, other)) = seen.iter().find(|(taken, _)| *taken == name) {
            return Err(invalid(format!(
                "the fields {other:?} and {field:?} would both be the variable {name}"
            )));
        }
        let text = str::from_utf8(value)
            .ok()
            .filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| {
            invalid(format!(
                "the field {field:?} is not text, as variables are; ask for json"
            ))
        })?;
        written.extend_from_slice(name.as_bytes());
        written.push(b'=');
        quote(text, &mut written);
        written.push(b'\n');
        seen.push((name, field));
    }
    Ok(written)
}

fn variable(field: &str) -> Option<String> {
    let upper = |c: char| match c {
        '.' | '-' => '_',
        c => c.to_ascii_uppercase(),
    };
    let is_fine = !field.starts_with(|first: char| first.is_ascii_digit());
    is_fine.then(|| field.chars().map(upper).collect())
}

/// Between single quotes everything stands for itself, but they cannot hold one; then
/// it is double quotes, with a backslash before what is special there.
fn quote(text: &str, written: &mut Vec<u8>) {
    let is_plain = !text.contains('\'');
    written.push(if is_plain { b'\'' } else { b'"' });
    for byte in text.bytes() {
        if !is_plain && matches!(byte, b'"' | b'\\' | b'$' | b'`') {
            written.push(b'\\');
        }
        written.push(byte);
    }
    written.push(if is_plain { b'\'' } else { b'"' });
}
