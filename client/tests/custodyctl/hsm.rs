//! `custodyctl hsm status`: for people, and for monitoring.

use crate::canned::Daemon;

#[test]
fn what_is_amiss_with_the_token_is_shown_and_told_by_the_exit_code() {
    let daemon = Daemon::start();
    for format in ["table", "json"] {
        let output = daemon.run(["hsm", "status", "--output", format]);
        assert_eq!(output.status.code(), Some(10));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, "custodyctl: something is amiss with a token\n");
        insta::assert_snapshot!(
            format!("hsm status {format}"),
            String::from_utf8(output.stdout).unwrap()
        );
    }
}
