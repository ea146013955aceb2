//! Runs a program as if the kernel were an older one.
//!
//! `old-kernel 6.4|6.12 PROGRAM ARGUMENT…`: before 6.13 a pidfd does not say whose it is,
//! and before 6.5 a socket has no pidfd of its peer.
#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails a test, which says so"
)]

use std::{collections::BTreeMap, env, os::unix::process::CommandExt as _, process::Command};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Answers `error` to `call`, if its arguments are these, by their place.
fn answer(call: i64, arguments: &[(u8, u64)], error: i32) {
    let equal = |(place, value): &(u8, u64)| {
        SeccompCondition::new(*place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value).unwrap()
    };
    let rule = SeccompRule::new(arguments.iter().map(equal).collect()).unwrap();
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, vec![rule])]),
        SeccompAction::Allow,
        SeccompAction::Errno(error.unsigned_abs()),
        env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    apply_filter(&program).unwrap();
}

fn main() {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [version, program, rest @ ..] = &arguments[..] else {
        panic!("{arguments:?}");
    };
    let number = |constant: i32| u64::from(constant.unsigned_abs());
    let info = libc::PIDFD_GET_INFO & 0xffff_ffff;
    answer(libc::SYS_ioctl, &[(1, info)], libc::ENOTTY);
    match version.to_str() {
        Some("6.12") => {}
        Some("6.4") => {
            let peer = [
                (1, number(libc::SOL_SOCKET)),
                (2, number(libc::SO_PEERPIDFD)),
            ];
            answer(libc::SYS_getsockopt, &peer, libc::ENOPROTOOPT);
        }
        _ => panic!("{}", version.display()),
    }
    panic!("{}", Command::new(program).args(rest).exec());
}
