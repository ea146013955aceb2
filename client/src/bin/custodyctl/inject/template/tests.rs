use super::*;

/// The pieces, with placeholders as `<reference>`.
fn shown(template: &str) -> String {
    let pieces = parse(template.as_bytes()).unwrap();
    let shown = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => str::from_utf8(text).unwrap().to_owned(),
        Piece::Placeholder(placeholder) => format!("<{}>", placeholder.reference),
    });
    shown.collect()
}

#[test]
fn references_in_double_braces_are_placeholders_and_nothing_else_is() {
    for (template, expected) in [
        ("", ""),
        ("no braces", "no braces"),
        (
            "a={{custody:web/db#password}}\n",
            "a=<custody:web/db#password>\n",
        ),
        (
            "{{ custody:web/db@previous\t}}!",
            "<custody:web/db@previous>!",
        ),
        (
            "{{custody:a/b}}{{custody:c/d@3}}",
            "<custody:a/b><custody:c/d@3>",
        ),
        ("{{{custody:a/b}}}", "{<custody:a/b>}"),
        ("custody:web/db", "custody:web/db"),
        ("{custody:web/db}", "{custody:web/db}"),
        (
            "{{ .Values.name }} {{- if }}",
            "{{ .Values.name }} {{- if }}",
        ),
        ("{{\ncustody:web/db}}", "{{\ncustody:web/db}}"),
        ("{{", "{{"),
    ] {
        assert_eq!(shown(template), expected, "{template:?}");
    }
}

#[test]
fn an_escaped_placeholder_is_text_without_the_escape() {
    for (template, expected) in [
        ("{{!custody:web/db}}", "{{custody:web/db}}"),
        ("{{ !custody:web/db }}", "{{ custody:web/db }}"),
        ("{{!!custody:web/db}}", "{{!custody:web/db}}"),
        ("{{!custody:not even one", "{{custody:not even one"),
        ("{{!other}}", "{{!other}}"),
    ] {
        assert_eq!(shown(template), expected, "{template:?}");
    }
}

#[test]
fn a_placeholder_that_is_none_is_named_by_its_place() {
    for (template, line, column, error) in [
        ("a\nbc{{custody:web/db", 2, 3, Error::Open),
        ("{{custody:web/db\n}}", 1, 1, Error::Open),
        ("\n\n {{custody:web}}", 3, 2, reference::Error::Form.into()),
        (
            "{{custody:a/b}}{{custody:a/b@current}}",
            1,
            16,
            reference::Error::Current.into(),
        ),
        ("{{custody:a/b#}}", 1, 1, reference::Error::Field.into()),
    ] {
        let refused = parse(template.as_bytes()).unwrap_err();
        assert_eq!(refused, (Position { line, column }, error), "{template:?}");
    }
}

#[test]
fn what_is_no_text_stays_as_it_is() {
    let template = b"\xff{{custody:a/b}}\xfe";
    let pieces = parse(template).unwrap();
    assert!(matches!(
        pieces[..],
        [
            Piece::Text(b"\xff"),
            Piece::Placeholder(_),
            Piece::Text(b"\xfe")
        ]
    ));
    parse(b"{{custody:\xff}}").unwrap_err();
}
