//! The time, proven by the vendor to a licence server whose clock nobody has to believe.

use serde_json::json;

use crate::environment::Environment;
use crate::failure::Outcome;
use crate::remote::Online;
use crate::show;

pub(super) async fn time(environment: &Environment) -> Outcome {
    let online = Online::open(environment).await?;
    // Any firm of the server can prove the time; the first one will do when none is named.
    let firm_code = match environment.settings.firm_code {
        Some(code) => code,
        None => {
            online.site.firms().await?.first().map_or_else(|| environment.firm_code(), |held| Ok(held.firm_code))?
        }
    };
    let nonce = online.site.time_nonce(firm_code).await?;
    let statement = online.vendor.sign_time(firm_code, nonce).await?;
    let answer = online.site.import_time(firm_code, statement).await?;
    let object = json!({
        "firm_code": firm_code,
        "proven": show::time(answer.proven.as_ref()),
        "was_suspect": answer.was_suspect,
        "is_suspect": answer.is_suspect,
    });
    environment.out.one(&object, || {
        let word = match (answer.was_suspect, answer.is_suspect) {
            (true, false) => "the clock was suspect and is believed again",
            (_, true) => {
                "the clock of the machine is still wrong; set it, dates are judged by the proven time until then"
            }
            (false, false) => "the clock of the machine agrees",
        };
        format!("proven: {}\n{word}", show::time_word(answer.proven.as_ref()))
    });
    Ok(())
}
