//! Master keys: what is asked of custodyd, and what is asked of people first.

use client::v1;

use crate::canned::Daemon;

#[test]
fn every_flag_of_a_rotation_reaches_custodyd() {
    let daemon = Daemon::start();
    let rotate = [
        "group",
        "rotate",
        "web",
        "--expect=3",
        "--compromised",
        "--keep-key=wrapped",
    ];
    assert!(daemon.run(rotate).status.success());
    let wanted = v1::RotateGroupRequest {
        group: "web".into(),
        expected: Some(3),
        compromised: true,
        keeping: Some("wrapped".into()),
    };
    assert_eq!(daemon.asked().rotate_group, Some(wanted));
    assert_eq!(daemon.calls(), ["rotate_group", "list_exposure"]);
}

#[test]
fn a_key_is_called_compromised_and_it_is_asked_whom_to_tell() {
    let daemon = Daemon::start();
    assert!(
        daemon
            .run(["group", "compromise-key", "web", "2"])
            .status
            .success()
    );
    let wanted = v1::CompromiseMasterKeyRequest {
        group: "web".into(),
        generation: 2,
    };
    assert_eq!(daemon.asked().compromise_key, Some(wanted));
    assert_eq!(daemon.calls(), ["compromise_master_key", "list_exposure"]);
}

#[test]
fn who_holds_a_group_and_what_a_write_needs_reach_custodyd() {
    let daemon = Daemon::start();
    let held = |tokens: &[&str], writes: Option<&str>| v1::HoldGroupRequest {
        group: "web".into(),
        tokens: tokens.iter().map(ToString::to_string).collect(),
        writes: writes.map(Into::into),
    };
    for (flags, wanted) in [
        (&["--token=a", "--token=b"][..], held(&["a", "b"], None)),
        (&["--writes=majority"], held(&[], Some("majority"))),
    ] {
        let hold = ["group", "hold", "web"];
        let output = daemon.run(hold.iter().chain(flags).copied());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(daemon.asked().hold_group, Some(wanted));
    }
    let asked = daemon.calls().len();
    for wrong in [&[][..], &["--writes=most"]] {
        let hold = ["group", "hold", "web"];
        let output = daemon.run(hold.iter().chain(wrong).copied());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert_eq!(daemon.calls().len(), asked);

    let create = [
        "group",
        "create",
        "web",
        "--token=a",
        "--writes=majority",
        "--keep-key=wrapped",
    ];
    assert!(daemon.run(create).status.success());
    let created = daemon.asked().create_group.unwrap();
    assert_eq!(created.tokens, ["a"]);
    assert_eq!(created.writes.as_deref(), Some("majority"));
    assert_eq!(created.keeping.as_deref(), Some("wrapped"));
}

#[test]
fn a_token_is_not_given_up_unasked_nor_more_than_is_said() {
    let daemon = Daemon::start();
    let lost = ["hsm", "lost", "standby"];
    assert_eq!(daemon.run(lost).status.code(), Some(2));
    assert!(daemon.calls().is_empty());
    for (how, accept_loss) in [(&["--yes"][..], 0), (&["--yes", "--accept-loss=3"], 3)] {
        let output = daemon.run(lost.iter().chain(how).copied());
        assert!(output.status.success(), "{how:?}");
        let wanted = v1::LoseTokenRequest {
            token: "standby".into(),
            accept_loss,
        };
        assert_eq!(daemon.asked().lose_token, Some(wanted));
    }
}

#[test]
fn a_key_is_not_destroyed_unasked_and_at_once_only_if_that_is_said() {
    let daemon = Daemon::start();
    let destroy = ["group", "destroy-key", "web", "1"];
    assert_eq!(daemon.run(destroy).status.code(), Some(2));
    assert!(daemon.calls().is_empty());
    for (how, seconds) in [
        (&["--yes"][..], None),
        (&["--yes", "--now"], Some(0)),
        (&["--yes", "--grace=2h"], Some(7200)),
    ] {
        let output = daemon.run(destroy.iter().chain(how).copied());
        assert!(output.status.success(), "{how:?}");
        let wanted = v1::DestroyMasterKeyRequest {
            group: "web".into(),
            generation: 1,
            grace_seconds: seconds,
        };
        assert_eq!(daemon.asked().destroy_key, Some(wanted));
    }
}
