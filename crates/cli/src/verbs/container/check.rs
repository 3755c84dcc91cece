//! What was issued to containers, compared with what license-central believes to lie in them. After one of the two
//! databases was restored from a backup they differ, and then seats are free that customers hold.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use lictor_api::central::v1::ListLicensesRequest;
use lictor_api::central::v1::license_service_client::LicenseServiceClient;
use lictor_api::types::v1::{License, LicenseState};
use lictor_api::update::v1::container_service_client::ContainerServiceClient;
use lictor_api::update::v1::{GetContainerRequest, GetContainerResponse};
use lictor_licensing::error::ErrorCode;
use serde_json::json;

use super::all;
use crate::connect::{MAX_ANSWER_BYTES, Service};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::verbs::page;

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Serial or id of the container; all of them when it is left out
    #[arg(value_name = "SERIAL")]
    serial: Option<String>,
}

/// A license of which the two do not say the same.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    license: String,
    /// Seats that the container will hold after all that was issued; nothing when none.
    issued: Option<u32>,
    /// Seats that license-central believes to lie there; nothing when none.
    believed: Option<u32>,
}

impl Difference {
    const fn meaning(&self) -> &'static str {
        match (self.issued, self.believed) {
            (Some(_), None) => "issued, and license-central does not know of it: its seats may be sold twice",
            (None, Some(_)) => "license-central counts it, and it was never issued or was taken out",
            _ => "both know of it, with other seats",
        }
    }
}

pub(super) async fn check(verb: Check, environment: &Environment) -> Outcome {
    let firm_code = environment.firm_code()?;
    let serials = match verb.serial {
        Some(serial) => vec![serial],
        None => all(environment).await?.into_iter().map(|container| container.serial).collect(),
    };
    let link = environment.link(Service::Update)?;
    let mut containers = ContainerServiceClient::new(link.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    let looked_at = serials.len();
    for serial in serials {
        let request = GetContainerRequest { firm_code, serial };
        let answer = containers.get_container(request).await.map_err(|status| link.failed(status))?.into_inner();
        let container = answer.container.clone().ok_or_else(|| link.incomplete())?;
        let licenses = believed(environment, firm_code, &container.serial).await?;
        for difference in compare(&answer, &licenses) {
            let word = |seats: Option<u32>| seats.map_or_else(|| "-".to_owned(), |seats| seats.to_string());
            rows.push(vec![
                container.serial.clone(),
                difference.license.clone(),
                word(difference.issued),
                word(difference.believed),
                difference.meaning().to_owned(),
            ]);
            objects.push(json!({
                "serial": container.serial,
                "container_id": container.container_id,
                "license_id": difference.license,
                "issued": difference.issued,
                "believed": difference.believed,
                "meaning": difference.meaning(),
                "blocked": container.blocked,
            }));
        }
    }
    let differs = !rows.is_empty();
    let none = match looked_at {
        1 => "the container holds what license-central believes".to_owned(),
        number => format!("all {number} containers hold what license-central believes"),
    };
    environment.out.many(&objects, &["container", "license", "issued", "believed", "meaning"], rows, &none);
    // A script has to see it without reading.
    if differs { Err(Failure::Told(ErrorCode::Conflict.exit_code())) } else { Ok(()) }
}

/// The licenses of which license-central believes that they may lie in a container.
async fn believed(environment: &Environment, firm_code: u32, serial: &str) -> Outcome<Vec<License>> {
    let link = environment.link(Service::Central)?;
    let mut client = LicenseServiceClient::new(link.channel());
    let mut request = ListLicensesRequest {
        firm_code,
        serial: serial.to_owned(),
        page: page(String::new()),
        ..ListLicensesRequest::default()
    };
    let mut licenses = Vec::new();
    loop {
        let answer = client.list_licenses(request.clone()).await.map_err(|status| link.failed(status))?.into_inner();
        licenses.extend(answer.licenses);
        if answer.next_page_token.is_empty() {
            return Ok(licenses);
        }
        request.page = page(answer.next_page_token);
    }
}

fn compare(issued: &GetContainerResponse, licenses: &[License]) -> Vec<Difference> {
    let serial = issued.container.as_ref().map_or("", |container| container.serial.as_str());
    let whole = issued.entries.iter().filter(|entry| entry.module_of.is_none());
    let issued: BTreeMap<&str, u32> =
        whole.map(|entry| (entry.license_id.as_str(), if entry.counted { entry.quantity } else { 0 })).collect();
    let mut believed: BTreeMap<&str, u32> = BTreeMap::new();
    for license in licenses {
        // What is on its way out was issued as a withdrawal.
        let here = license.allocations.iter().filter(|part| {
            part.serial == serial && matches!(part.state(), LicenseState::Collected | LicenseState::Confirmed)
        });
        for part in here {
            *believed.entry(license.license_id.as_str()).or_default() += part.quantity;
        }
    }
    let all: BTreeSet<&str> = issued.keys().chain(believed.keys()).copied().collect();
    all.into_iter()
        .filter(|license| issued.get(license) != believed.get(license))
        .map(|license| Difference {
            license: license.to_owned(),
            issued: issued.get(license).copied(),
            believed: believed.get(license).copied(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use lictor_api::types::v1::{Allocation, Entry};
    use lictor_api::update::v1::Container;

    use super::*;

    fn entry(license: &str, quantity: u32) -> Entry {
        Entry { license_id: license.to_owned(), quantity, counted: quantity > 0, ..Entry::default() }
    }

    fn license(id: &str, parts: &[(&str, u32, LicenseState)]) -> License {
        let part = |(serial, quantity, state): &(&str, u32, LicenseState)| Allocation {
            serial: (*serial).to_owned(),
            quantity: *quantity,
            state: (*state).into(),
            ..Allocation::default()
        };
        License { license_id: id.to_owned(), allocations: parts.iter().map(part).collect(), ..License::default() }
    }

    #[test]
    fn only_what_differs_is_told_and_what_is_on_its_way_out_does_not() {
        use LicenseState::{Collected, Confirmed, Returning};
        let module = Entry { module_of: Some(7), ..entry("lic_same", 9) };
        let issued = GetContainerResponse {
            container: Some(Container { serial: "130-1".to_owned(), ..Container::default() }),
            entries: vec![
                entry("lic_same", 3),
                module,
                entry("lic_more", 2),
                entry("lic_new", 1),
                entry("lic_free", 0),
            ],
            ..GetContainerResponse::default()
        };
        let known = [
            license("lic_same", &[("130-1", 1, Collected), ("130-1", 2, Confirmed), ("130-2", 5, Confirmed)]),
            license("lic_more", &[("130-1", 1, Confirmed)]),
            license("lic_gone", &[("130-1", 4, Confirmed)]),
            license("lic_back", &[("130-1", 4, Returning)]),
            license("lic_free", &[("130-1", 0, Confirmed)]),
        ];
        let told = compare(&issued, &known);
        let told: Vec<_> = told.iter().map(|one| (one.license.as_str(), one.issued, one.believed)).collect();
        assert_eq!(told, [("lic_gone", None, Some(4)), ("lic_more", Some(2), Some(1)), ("lic_new", Some(1), None)]);
    }
}
