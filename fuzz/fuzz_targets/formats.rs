//! Whatever a type accepts, in every form in which it is delivered but key stores, which take
//! long to write: what is written is what was stored, and is accepted again. The input is a
//! value for the first field of each type, or values with a byte 0 between them.
#![no_main]

#[rustfmt::skip]
#[path = "../../client/src/bin/custodyctl/content/dotenv.rs"]
mod dotenv;

use custody::secret::{
    Kind, Shape,
    fields::Fields,
    format::{Format, Rendering, render},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for kind in Kind::all() {
        let Shape::Fields(known) = kind.shape() else {
            continue;
        };
        let mut given = Fields::default();
        for (field, value) in known.iter().zip(input.split(|&byte| byte == 0)) {
            if !value.is_empty() {
                given.push(field.name.to_owned(), value.to_vec());
            }
        }
        let Ok(accepted) = kind.accept(given) else {
            continue;
        };
        let stored = Fields::decode(&accepted.content).expect("what was encoded");
        for format in Format::ALL {
            if format.takes_password() {
                continue;
            }
            let rendering = Rendering::new(format, None).expect("it takes no password");
            if let Ok(documents) = render(kind, &stored, &rendering) {
                check(kind, format, &stored, &documents);
            }
        }
    }
});

fn check(kind: Kind, format: Format, stored: &Fields, documents: &Fields) {
    match format {
        Format::Pem => {
            let mut again = Fields::default();
            for (name, value) in stored.iter() {
                let pem = documents.get(&format!("{name}.pem"));
                again.push(name.to_owned(), pem.unwrap_or(value).to_vec());
            }
            let again = kind.accept(again).expect("it was accepted before");
            let again = Fields::decode(&again.content).expect("what was encoded");
            assert!(again.iter().eq(stored.iter()));
        }
        Format::PemBundle => {
            let bundle = documents.get("bundle.pem").expect("the bundle");
            assert!(bundle.starts_with(b"-----BEGIN ") && bundle.is_ascii());
        }
        Format::Raw => assert!(documents.iter().eq(stored.iter())),
        Format::Dotenv => {
            let file = documents.get("secret.env").expect("the file");
            // What has quotation marks in it is for shells, not for every reader.
            if let Ok(read) = dotenv::parse(file) {
                let read = read.iter().map(|(_, value)| &value[..]);
                assert!(read.eq(stored.iter().map(|(_, value)| value)));
            }
        }
        Format::Json => {
            let json = documents.get("secret.json").expect("the file");
            let json = str::from_utf8(json).expect("text");
            assert!(json.starts_with('{') && json.ends_with("}\n"));
        }
        Format::Der | Format::Pkcs12 | Format::JavaTruststore => {}
    }
}
