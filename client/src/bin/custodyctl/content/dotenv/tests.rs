//! What is a dotenv file, and what is not.

use super::*;

fn read(text: &str) -> Result<Vec<(String, String)>, Error> {
    let variables = parse(text.as_bytes())?.into_iter();
    Ok(variables
        .map(|(name, value)| (name, String::from_utf8(value.to_vec()).unwrap()))
        .collect())
}

fn value(text: &str) -> Result<String, Wrong> {
    match read(&format!("A={text}")) {
        Ok(variables) => Ok(variables.into_iter().next().unwrap().1),
        Err(Error::Value { wrong, .. }) => Err(wrong),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn values_are_what_readers_agree_on() {
    for (written, meant) in [
        ("", ""),
        ("b", "b"),
        ("  b c\t", "b c"),
        ("b # comment", "b"),
        (" # comment", ""),
        ("b#c", "b#c"),
        ("a=b==", "a=b=="),
        ("5$ and $", "5$ and $"),
        ("''", ""),
        ("'$B \\n # \"' # comment", "$B \\n # \""),
        ("'two\nlines'", "two\nlines"),
        ("\"\"", ""),
        ("\"two\nlines # 'x' 5$\"", "two\nlines # 'x' 5$"),
        (r#""\n\r\t\$B\`\"\\""#, "\n\r\t$B`\"\\"),
        ("\"ü\" \t# comment", "ü"),
    ] {
        assert_eq!(value(written).as_deref(), Ok(meant), "{written}");
    }
}

#[test]
fn a_value_that_readers_take_differently_is_refused() {
    for (written, wrong) in [
        ("it's", Wrong::Ambiguous),
        ("a\\nb", Wrong::Ambiguous),
        ("a\"b\"", Wrong::Ambiguous),
        ("#b", Wrong::Ambiguous),
        ("$B", Wrong::Substitution),
        ("a${B}", Wrong::Substitution),
        ("$(b)", Wrong::Substitution),
        ("pa$$word", Wrong::Substitution),
        ("`b`", Wrong::Substitution),
        ("\"$B\"", Wrong::Substitution),
        ("\"`b`\"", Wrong::Substitution),
        ("\"\\x41\"", Wrong::Escape),
        ("\"b", Wrong::Open),
        ("\"b\\", Wrong::Open),
        ("'b\nB=c\n", Wrong::Open),
        ("'b'c", Wrong::After),
        ("\"b\"#c", Wrong::After),
        ("'b' 'c'", Wrong::After),
    ] {
        assert_eq!(value(written), Err(wrong), "{written}");
    }
}

#[test]
fn a_file_has_names_comments_and_exports() {
    let text =
        "\u{feff}# comment\r\n\r\nA=1\r\n export B = 'two\nlines'\n\n  # c\n\texport\tC.d-e=3";
    let expected = [("A", "1"), ("B", "two\nlines"), ("C.d-e", "3")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(read(text).unwrap(), expected);
    assert_eq!(read("export=1").unwrap()[0].0, "export");
}

#[test]
fn what_is_wrong_is_told_by_line_and_name_and_not_quoted() {
    let twice = Error::Twice {
        name: "A".into(),
        first: 1,
        second: 4,
    };
    assert_eq!(read("A='x\ny'\n\nA=1"), Err(twice));
    for line in [
        "canary",
        "canary two=3",
        "export canary",
        "=canary",
        "ü=canary",
    ] {
        let error = read(&format!("A=1\n{line}\n")).unwrap_err();
        assert_eq!(error, Error::NoName(2));
        assert!(!error.to_string().contains("canary"));
    }
    let open = read("A=1\nB=\"canary").unwrap_err().to_string();
    assert_eq!(open, "line 2: B has a quotation mark that is not closed");
    assert_eq!(parse(b"A=\xff"), Err(Error::NotText));
}
