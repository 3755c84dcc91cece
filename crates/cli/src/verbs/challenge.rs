//! `lictor challenge`: bytes of the vendor that make a context provably fresh, for carrying by hand.

use clap::Args;
use serde_json::json;

use crate::args::hex;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::remote::Vendor;
use crate::show;

/// Print a challenge of the vendor, to be carried to a licence server by hand
///
/// A context that carries it is provably no older than the challenge. Giving back, moving, pulling and rebasing by files
/// need one; online these verbs fetch their own.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  lictor challenge --firm-code 6000010
  lictor challenge > challenge.txt
  lictor server context --challenge \"$(cat challenge.txt)\" -o box.rac")]
pub(crate) struct Challenge;

impl Challenge {
    pub(crate) async fn run(self, environment: &Environment) -> Outcome {
        let firm_code = environment.firm_code()?;
        let answer = Vendor::open(environment)?.challenge(firm_code).await?;
        let challenge = hex(&answer.challenge);
        let object = json!({
            "firm_code": firm_code,
            "challenge": challenge,
            "valid_until": show::time(answer.valid_until.as_ref()),
        });
        environment.out.note(&format!(
            "good until {}; next, at the licence server: lictor server context --challenge CHALLENGE -o F.rac",
            show::time_word(answer.valid_until.as_ref())
        ));
        // Alone on stdout, so that it can be sent into a file.
        environment.out.one(&object, || challenge.clone());
        Ok(())
    }
}
