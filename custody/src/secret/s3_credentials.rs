//! `s3-credentials`: what a client of an S3 service signs its requests with.

use super::{
    Fields, Makes, Properties, Refused, Shape, Type, optional, public, required,
    text::{Form, TOKEN, text},
};

const ID: &str = "access-key-id";
const SECRET: &str = "secret-access-key";
const SESSION: &str = "session-token";
const REGION: &str = "region";
const ENDPOINT: &str = "endpoint";

/// Signature Version 4 writes the id between '=', '/' and ',' into a header.
const KEY_ID: Form = Form {
    max: 128,
    holds: "visible ASCII characters other than '/', ',' and '='",
    allows: |c| c.is_ascii_graphic() && !"/,=".contains(c),
};
const SECRET_KEY: Form = Form { max: 256, ..TOKEN };
const REGION_NAME: Form = Form {
    max: 64,
    holds: "letters, digits, '-' and '_'",
    allows: |c| c.is_ascii_alphanumeric() || "-_".contains(c),
};
const URL: Form = Form { max: 255, ..TOKEN };

pub(super) struct S3Credentials;

impl Type for S3Credentials {
    fn name(&self) -> &'static str {
        "s3-credentials"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(
            const {
                &[
                    required(ID),
                    required(SECRET),
                    optional(SESSION),
                    optional(REGION),
                    optional(ENDPOINT),
                ]
            },
        )
    }

    fn lines(&self) -> &'static [&'static str] {
        &[ID, SECRET, SESSION, REGION, ENDPOINT]
    }

    fn makes(&self) -> Makes {
        Makes::Not(
            "the service that takes them issues new ones; store those with 'custodyctl secret put'",
        )
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[ID, REGION, ENDPOINT]
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        text(values, SECRET, &SECRET_KEY)?;
        let session = text(values, SESSION, &TOKEN)?;
        let id = text(values, ID, &KEY_ID)?;
        let endpoint = text(values, ENDPOINT, &URL)?;
        let region = text(values, REGION, &REGION_NAME)?;
        // The prefix with which AWS marks keys of its Security Token Service.
        if id.is_some_and(|id| id.starts_with("ASIA")) && session.is_none() {
            return Err(Refused::Invalid(format!(
                "{ID:?} is of a temporary key (it begins with ASIA), which works only with \
                 its {SESSION:?}"
            )));
        }
        if endpoint.is_some_and(|url| !is_endpoint(url)) {
            return Err(Refused::Invalid(format!(
                "{ENDPOINT:?} is no URL of a service: http or https, a host, perhaps a port \
                 and a path, and no user, query or fragment"
            )));
        }
        Ok(public(ID, id)
            .chain(public(REGION, region))
            .chain(public(ENDPOINT, endpoint))
            .collect())
    }
}

/// Whether `url` can be published: nothing in it is a credential.
fn is_endpoint(url: &str) -> bool {
    let rest = url.strip_prefix("https://");
    let Some(rest) = rest.or_else(|| url.strip_prefix("http://")) else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_name = |host: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !host.is_empty() && host.bytes().all(fine)
    };
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_host = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_name(host),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok()) && !rest.contains(['?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::tests::accept;

    const GIVEN: [(&str, &str); 2] = [
        (ID, "AKIAIOSFODNN7EXAMPLE"),
        (SECRET, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ];

    fn refusal(more: &[(&str, &str)]) -> Option<String> {
        let replaced = |name: &str| more.iter().any(|(other, _)| *other == name);
        let given = GIVEN.into_iter().filter(|(name, _)| !replaced(name));
        let given: Vec<_> = given.chain(more.iter().copied()).collect();
        let refused = accept("s3-credentials", &given).err()?;
        Some(refused.to_string())
    }

    #[test]
    fn where_a_key_is_used_is_public_and_the_key_is_not() {
        let (_, properties) = accept("s3-credentials", &GIVEN).unwrap();
        assert_eq!(properties, [(ID.into(), "AKIAIOSFODNN7EXAMPLE".into())]);
        let more = [
            (SESSION, "FQoGZXIvYXdzE=="),
            (REGION, "eu-central-1"),
            (ENDPOINT, "https://minio.example.org:9000/"),
        ];
        let (_, properties) = accept("s3-credentials", &[&GIVEN[..], &more].concat()).unwrap();
        let expected = [GIVEN[0], more[1], more[2]];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(properties, expected);
    }

    #[test]
    fn a_temporary_key_without_its_session_token_is_refused() {
        let id = (ID, "ASIAIOSFODNN7EXAMPLE");
        let refused = refusal(&[id]).unwrap();
        assert!(
            refused.contains("only with its \"session-token\""),
            "{refused}"
        );
        assert_eq!(refusal(&[id, (SESSION, "FQoGZXIvYXdzE==")]), None);
    }

    #[test]
    fn what_does_not_fit_a_signed_request_is_refused_by_field() {
        for (field, value) in [
            (ID, "a/b"),
            (ID, "a=b"),
            (ID, &*"x".repeat(129)),
            (SECRET, "wJalr XUtn"),
            (SECRET, &*"x".repeat(257)),
            (SESSION, "x\n"),
            (REGION, "eu central"),
            (ENDPOINT, "minio.example.org"),
        ] {
            let refusal = refusal(&[(field, value)]).unwrap();
            assert!(refusal.starts_with(&format!("{field:?} ")), "{refusal}");
        }
    }

    #[test]
    fn an_endpoint_is_a_url_without_credentials() {
        for url in [
            "https://s3.eu-central-1.amazonaws.com",
            "http://10.0.0.7:9000",
            "https://[2001:db8::1]:9000/path",
            "https://[2001:db8::1]",
        ] {
            assert!(is_endpoint(url), "{url}");
        }
        for url in [
            "s3.example.org",
            "ftp://s3.example.org",
            "https://",
            "https:///x",
            "https://:9000",
            "https://s3.example.org:port",
            "https://s3.example.org:99999",
            "https://me:secret@s3.example.org",
            "https://me@s3.example.org",
            "https://s3.example.org/?key=secret",
            "https://s3.example.org/#x",
            "https://[s3.example.org]",
        ] {
            assert!(!is_endpoint(url), "{url}");
        }
    }
}
