//! Whether a license with a technical end is renewed before it.

use clap::Args;
use lictor_api::central::v1::CancelRenewalRequest;
use lictor_api::central::v1::license_service_client::LicenseServiceClient;

use crate::connect::Service;
use crate::environment::Environment;
use crate::failure::Outcome;
use crate::request::RequestId;
use crate::show;

#[derive(Debug, Args)]
pub(crate) struct Renewal {
    /// Id of the license
    #[arg(value_name = "LICENSE")]
    license: String,

    #[command(flatten)]
    request_id: RequestId,
}

pub(super) async fn cancel(verb: Renewal, environment: &Environment) -> Outcome {
    set(verb, false, environment).await
}

pub(super) async fn resume(verb: Renewal, environment: &Environment) -> Outcome {
    set(verb, true, environment).await
}

async fn set(verb: Renewal, resume: bool, environment: &Environment) -> Outcome {
    let link = environment.link(Service::Central)?;
    let mut client = LicenseServiceClient::new(link.channel());
    let request =
        CancelRenewalRequest { request_id: verb.request_id.named(environment)?, license_id: verb.license, resume };
    let answer = client.cancel_renewal(request).await.map_err(|status| link.failed(status))?.into_inner();
    let license = answer.license.ok_or_else(|| link.incomplete())?;
    environment.out.one(&show::license(&license), || {
        let end = show::time_word(license.expires_at.as_ref());
        let id = &license.license_id;
        match (license.renews, license.expires_at.is_some()) {
            (true, true) => format!("{id} is renewed before its end; the present one is {end}"),
            (true, false) => format!("{id} is renewed before its end"),
            (false, true) => format!("{id} is not renewed again; it ends at {end}"),
            (false, false) => format!("{id} is not renewed again"),
        }
    });
    Ok(())
}
