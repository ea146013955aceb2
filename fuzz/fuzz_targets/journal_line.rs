//! Lines of a journal, whoever wrote them: what the verifier accepts is a chain.
#![no_main]

use custody::{
    journal::{
        Event,
        chain::{Head, Verifier},
    },
    name::InstanceId,
};
use libfuzzer_sys::fuzz_target;

const PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExxxyP0XD7PRkFl8rcELYNIW4HjxV
fUC4DJvmWRLtrmVi+KYaeeNO50L5qabYjT5zjmxdO5qhbRGlODlyxCIG5w==
-----END PUBLIC KEY-----
";

fuzz_target!(|journal: &[u8]| {
    verify(Verifier::new(None), Head::START, journal);

    // Most of what matters comes after a first line that is hard to guess.
    let mut line = Vec::new();
    let segment = Event::Segment {
        instance: InstanceId::from_bytes(&[7; InstanceId::LEN]).expect("as long as it should be"),
        public_key: PUBLIC_KEY.to_owned(),
        settled: None,
    };
    let head = Head::START.append("2026-01-01T00:00:00Z", &segment, &mut line);
    let mut verifier = Verifier::new(None);
    let first = line.strip_suffix(b"\n").expect("a line ends so");
    verifier.line(first).expect("what is written can be read");
    assert_eq!(verifier.head(), Some(head));
    verify(verifier, head, journal);
});

fn verify(mut verifier: Verifier, mut head: Head, journal: &[u8]) {
    for line in journal.split(|&byte| byte == b'\n') {
        let Ok(entry) = verifier.line(line) else {
            return;
        };
        if head != Head::START {
            assert_eq!((entry.seq, entry.prev), (head.seq + 1, head.hash));
        }
        head = verifier.head().expect("there was a line");
        assert_eq!(head.seq, entry.seq);
        let report = verifier.report();
        assert_eq!(report.last, entry.seq);
        assert!(report.covered <= report.last);
    }
}
