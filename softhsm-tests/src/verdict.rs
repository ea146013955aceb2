//! What a client was told, and what of it is on record. The secret is `web/key`.

use serde_json::Value;

use crate::{Site, text};

/// The content of `web/key`.
pub const CONTENT: &[u8] = b"content-of-key";

impl Site {
    /// Makes the blob `web/key`, granted to nobody.
    pub fn furnish_ungranted(&self) {
        self.ctl(&["group", "create", "web"]);
        let output = self.put("web/key", CONTENT);
        assert!(output.status.success(), "{}", text(&output));
    }

    /// Grants `web/key` to whoever satisfies all of `selectors`.
    pub fn grant(&self, selectors: &[&str]) {
        self.ctl(&granting(selectors));
    }

    /// Nothing was allowed, and the newest denial says why.
    pub fn is_on_record_as(&self, reason: &str) -> Value {
        assert_eq!(self.entries("allow"), [Value::Null; 0]);
        let denial = self.entries("deny").pop().expect("a denial");
        assert_eq!(denial["reason"], reason);
        denial
    }

    /// The newest doubt about a peer, which asked and was not even weighed.
    pub fn is_doubted_as(&self, doubt: &str) -> Value {
        let doubted = self.entries("unattested").pop().expect("a doubt");
        assert_eq!(doubted["doubt"], doubt);
        assert_eq!(doubted["surface"], "provider");
        assert_eq!(self.entries("allow"), [Value::Null; 0]);
        assert_eq!(self.entries("deny"), [Value::Null; 0]);
        doubted
    }

    /// The newest release: to whom the content went.
    pub fn is_on_record_as_allowed(&self) -> Value {
        self.entries("allow").pop().expect("a release")
    }
}

/// The arguments of `custodyctl` that grant `web/key` to whoever satisfies all of
/// `selectors`.
pub fn granting<'a>(selectors: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["grant", "add", "--allow-weak", "web", "key"];
    for selector in selectors {
        arguments.extend(["--selector", selector]);
    }
    arguments
}

/// The answer has the content in it.
pub fn is_delivered(answer: &Value) {
    assert!(has_content(answer), "{answer}");
}

/// The answer is no, and no more than that.
pub fn is_denied(answer: &Value) {
    assert_eq!(answer["code"], 7, "{answer}");
    assert_eq!(answer["message"], "denied");
    assert!(answer.get("bytes").is_none());
}

/// The connection was closed without an answer.
pub fn is_turned_away(answer: &Value) {
    // "Unknown" or "unavailable", depending on when the client noticed.
    let closed = answer["hung-up"] == true || answer["code"] == 2 || answer["code"] == 14;
    assert!(closed, "{answer}");
    assert!(answer.get("bytes").is_none());
}

fn has_content(answer: &Value) -> bool {
    let bytes = hex::decode(answer["bytes"].as_str().unwrap_or_default()).unwrap_or_default();
    bytes.windows(CONTENT.len()).any(|part| part == CONTENT)
}
