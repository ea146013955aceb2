//! Tokens of RFC 7519 and its companions, and broken ones.

use proptest::prelude::*;

use super::*;
use crate::secret::tests::accept;

/// RFC 7515, appendix A.1.
const SIGNED: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// RFC 7519, §6.1.
const UNSIGNED: &str = "eyJhbGciOiJub25lIn0.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

fn token(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.c2lnbmF0dXJl")
}

fn properties(token: &str) -> Result<Properties, String> {
    let accepted = accept("jwt", &[(TOKEN, token)]);
    let (stored, properties) = accepted.map_err(|refused| refused.to_string())?;
    assert_eq!(stored.get(TOKEN), Some(token.as_bytes()));
    Ok(properties)
}

fn shown(token: &str) -> Vec<String> {
    let properties = properties(token).unwrap().into_iter();
    properties
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

#[test]
fn registered_claims_are_shown_and_others_are_not() {
    assert_eq!(
        shown(SIGNED),
        ["alg=HS256", "iss=joe", "exp=2011-03-22T18:43:00Z"]
    );
    let all = token(
        r#"{"alg":"ES256","kid":"k1","x5c":["secret"]}"#,
        r#"{"email":"secret","exp":1300819380.9,"nbf":0,"iat":1,"aud":["a","b"],"sub":"s","iss":"i"}"#,
    );
    assert_eq!(
        shown(&all),
        [
            "alg=ES256",
            "kid=k1",
            "iss=i",
            "sub=s",
            "aud=a b",
            "iat=1970-01-01T00:00:01Z",
            "nbf=1970-01-01T00:00:00Z",
            "exp=2011-03-22T18:43:00Z"
        ]
    );
}

#[test]
fn an_unsigned_token_is_refused_for_that() {
    let unsigned = [UNSIGNED.to_owned(), token(r#"{"alg":"nOnE"}"#, "{}")];
    for unsigned in unsigned {
        let refusal = properties(&unsigned).unwrap_err();
        assert!(refusal.starts_with("\"token\" is not signed"), "{refusal}");
    }
    let stripped = SIGNED.rsplit_once('.').unwrap().0.to_owned() + ".";
    assert_eq!(
        properties(&stripped).unwrap_err(),
        "\"token\" is not signed (its signature is empty), so anyone can write it"
    );
}

#[test]
fn what_is_no_token_is_refused_for_what_is_wrong_with_it() {
    let header = r#"{"alg":"ES256"}"#;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for (broken, wrong) in [
        ("canary".to_owned(), "is no signed token"),
        ("a.b".to_owned(), "is no signed token"),
        ("a.b.c.d.e".to_owned(), "is encrypted"),
        ("a.b.c.d.e.f".to_owned(), "is no signed token"),
        (
            format!("{SIGNED}\n"),
            "has a signature that is not base64url",
        ),
        (
            format!("{SIGNED}="),
            "has a signature that is not base64url",
        ),
        ("*.b.c".to_owned(), "has a header that is not base64url"),
        (
            format!("{}.*.c", part(header)),
            "has claims that is not base64url",
        ),
        (token("canary", "{}"), "has a header that is no JSON object"),
        (
            token(r#"["ES256","k1"]"#, "{}"),
            "has a header that is no JSON object",
        ),
        (
            token(header, "canary"),
            "has claims that are no JSON object",
        ),
        (
            token(header, r#"{"exp":1,"exp":2}"#),
            "has claims that are no JSON object",
        ),
        (token("{}", "{}"), "has no \"alg\""),
        (token(r#"{"alg":1}"#, "{}"), "has a \"alg\" that is no text"),
        (
            token(header, r#"{"iss":["canary"]}"#),
            "has a \"iss\" that is no text",
        ),
        (
            token(header, r#"{"aud":[1]}"#),
            "has a \"aud\" that is neither",
        ),
        (
            token(header, r#"{"exp":"canary"}"#),
            "has a \"exp\" that is no time",
        ),
        (
            token(header, r#"{"nbf":-1}"#),
            "has a \"nbf\" that is no time",
        ),
        (
            token(header, r#"{"iat":253402300800}"#),
            "has a \"iat\" that is no time",
        ),
        (
            token(header, &"[".repeat(10_000)),
            "has claims that are no JSON object",
        ),
        ("x".repeat(MAX_TOKEN + 1), "is longer than 65536 bytes"),
    ] {
        let refusal = properties(&broken).unwrap_err();
        assert!(
            refusal.starts_with(&format!("\"token\" {wrong}")),
            "{refusal}"
        );
        assert!(!refusal.contains("canary"), "{refusal}");
    }
}

#[test]
fn long_claims_are_cut() {
    let (long, many) = ("ü".repeat(300), ["a"; 20]);
    let claims = serde_json::json!({ "iss": long, "sub": "ü".repeat(255), "aud": many });
    let shown = shown(&token(r#"{"alg":"ES256"}"#, &claims.to_string()));
    assert_eq!(shown[1], format!("iss={}…", "ü".repeat(255)));
    assert_eq!(shown[2], format!("sub={}", "ü".repeat(255)));
    assert_eq!(shown[3], format!("aud={}…", "a ".repeat(16)));
}

proptest! {
    #[test]
    fn claims_that_are_not_registered_never_show(name in "[a-z]{4,8}", value in "[a-zA-Z0-9]{8,64}") {
        let claims = serde_json::json!({ name: value, "iss": "x" });
        let shown = shown(&token(r#"{"alg":"ES256"}"#, &claims.to_string()));
        prop_assert_eq!(shown, ["alg=ES256", "iss=x"]);
    }
}
