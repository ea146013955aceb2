//! The PIN is changed at the token: on record before it is told to, and after it has.

use cryptoki::error::{Error as CkError, RvError};

use super::{Chart, log_in};
use crate::{
    Error,
    succession::{Stand, Turn},
    wire::visit::Grade,
    worker::{
        login::{Login, Next},
        pin::Pin,
        recovery,
        token::Found,
    },
};

/// `None` when it was told why the PIN is not known to be changed.
pub(super) fn pin(
    login: &Login,
    turn: Option<&Turn<'_>>,
    found: Found,
    chart: &mut Chart,
) -> Option<()> {
    chart.step("next PIN");
    let (Some(next), Some(turn)) = (login.next(), turn) else {
        let advice = "set token.next-pin, and reload custodyd";
        chart.find(Grade::Refused, "none is configured", advice);
        return None;
    };
    let (old, new) = chart.must(read(login, next, &found))?;
    if old.is_same(&new) {
        let advice = "put the PIN that the token is to have at the source token.next-pin";
        chart.find(Grade::Refused, "it is the same as the PIN", advice);
        return None;
    }
    let (Some(old), Some(new)) = (old.spend_as_text(), new.spend_as_text()) else {
        let advice = "PKCS#11 wants UTF-8; choose another, or use the vendor's tool";
        chart.find(Grade::Refused, "one of the PINs is not text", advice);
        return None;
    };
    if chart.must(next.stand(turn))?.is_none() {
        let advice = "reload custodyd, or restart it; if it then does not log that the next PIN is there, the log says why";
        chart.find(Grade::Refused, "custodyd has not taken it in yet", advice);
        return None;
    }
    chart.fine("custodyd has it");

    chart.step("login");
    let token = log_in(login, Some(turn), found, chart)?;
    if chart.must(next.stand(turn))? == Some(Stand::Done) {
        chart.fine("with the next PIN: the token has it already");
        return Some(());
    }
    chart.fine("with the PIN that is to be changed");

    chart.step("change");
    chart.must(next.note(turn, Stand::Begun))?;
    let outcome = match token.change_pin(&old, &new) {
        Ok(()) => Ok(next.note(turn, Stand::Done)),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(noted) => {
            chart.must(noted)?;
            chart.fine("the token has taken the next PIN");
            Some(())
        }
        Err(error) if is_refusal(&error) => {
            if matches!(error, CkError::Pkcs11(RvError::PinIncorrect, _)) {
                chart.must(login.latch().close())?;
            }
            chart.must(next.note(turn, Stand::Staged))?;
            let advice = "the token has the PIN that it had; see what it wants of one (length, characters, who may change it)";
            chart.find(Grade::Refused, recovery::describe(&error), advice);
            None
        }
        Err(error) => {
            chart.find(Grade::Refused, recovery::describe(&error), "");
            None
        }
    }
}

fn read(login: &Login, next: &Next, found: &Found) -> Result<(Pin, Pin), Error> {
    Ok((login.present_pin(found)?, next.read(found)?))
}

/// Whether the token has certainly not changed its PIN.
fn is_refusal(error: &CkError) -> bool {
    use RvError as Rv;
    match error {
        CkError::NullFunctionPointer => true,
        CkError::Pkcs11(code, _) => matches!(
            code,
            Rv::ArgumentsBad
                | Rv::FunctionNotSupported
                | Rv::PinIncorrect
                | Rv::PinInvalid
                | Rv::PinLenRange
                | Rv::PinLocked
                | Rv::SessionReadOnly
                | Rv::TokenWriteProtected
                | Rv::UserNotLoggedIn
        ),
        _ => false,
    }
}
