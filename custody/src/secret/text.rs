//! Values of fields that are text, and what may stand in them.

use super::{Fields, Refused};

/// A form of text: how long it may be, and what it may hold.
pub(super) struct Form {
    /// The most bytes it has.
    pub(super) max: usize,
    /// What it holds, for people: "letters and digits".
    pub(super) holds: &'static str,
    /// Whether a character may stand in it.
    pub(super) allows: fn(char) -> bool,
}

/// What can stand in a header or an environment variable as it is, up to 8 KiB.
pub(super) const TOKEN: Form = Form {
    max: 8 << 10,
    holds: "visible ASCII characters, without spaces and line ends",
    allows: |c| c.is_ascii_graphic(),
};

/// The field `name` as text of a `form`; `None` if there is none.
pub(super) fn text<'a>(
    values: &'a Fields,
    name: &str,
    form: &Form,
) -> Result<Option<&'a str>, Refused> {
    let Some(bytes) = values.get(name) else {
        return Ok(None);
    };
    let invalid = |wrong: String| Err(Refused::Invalid(format!("{name:?} {wrong}")));
    if bytes.len() > form.max {
        return invalid(format!("is longer than {} bytes", form.max));
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return invalid("is not UTF-8 text".to_owned());
    };
    // Which character it is would quote the content; where it stands does not.
    match text.chars().position(|c| !(form.allows)(c)) {
        None => Ok(Some(text)),
        Some(at) => invalid(format!(
            "may hold {} only; its character {} is another",
            form.holds,
            at + 1
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_another_form_is_refused_without_being_quoted() {
        let read = |value: &[u8]| {
            let mut fields = Fields::default();
            fields.push("key".into(), value.to_vec());
            let text = text(&fields, "key", &TOKEN).map_err(|refused| refused.to_string());
            text.map(|text| text.unwrap().to_owned())
        };
        assert_eq!(read(b"a-Z~!"), Ok("a-Z~!".to_owned()));
        assert_eq!(read(&[b'x'; 8192]), Ok("x".repeat(8192)));
        assert_eq!(
            read(&[b'x'; 8193]),
            Err("\"key\" is longer than 8192 bytes".to_owned())
        );
        assert_eq!(read(b"\xff"), Err("\"key\" is not UTF-8 text".to_owned()));
        for other in ["abc def", "abc\n", "abcé"] {
            let refusal = read(other.as_bytes()).unwrap_err();
            assert_eq!(
                refusal,
                "\"key\" may hold visible ASCII characters, without spaces and line ends only; \
                 its character 4 is another"
            );
        }
    }
}
