//! The client against real tokens of SoftHSM, with workers that are this binary executed again.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

#[cfg(test)]
mod choice;
#[cfg(test)]
mod gmk;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod load;
#[cfg(test)]
mod maker;
#[cfg(test)]
mod many;
#[cfg(test)]
mod pairs;
#[cfg(test)]
mod pin;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod several;
#[cfg(test)]
mod support;
#[cfg(test)]
mod twins;
#[cfg(test)]
mod urgency;
#[cfg(test)]
mod wrapped;

/// Not a test: what a worker runs.
#[test]
fn worker_entry() {
    if std::env::var_os(support::WORKER).is_some() {
        let outcome = hsm::worker();
        std::process::exit(i32::from(outcome != std::process::ExitCode::SUCCESS));
    }
}

/// Not a test: makes a key that the client would not make.
#[test]
fn key_maker_entry() {
    if std::env::var_os(support::KEY_MAKER).is_some() {
        maker::make_what_was_asked_for();
        std::process::exit(0);
    }
}

/// Not a test: a parent that serves until it is killed.
#[test]
fn parent_entry() {
    if let Some(folder) = std::env::var_os(support::PARENT) {
        support::serve_for_ever(folder.as_ref());
    }
}
