//! CatalogueService: what a firm sells.

use lictor_api::central::v1::{
    ApplyCatalogueRequest, ApplyCatalogueResponse, CatalogueItem as WireItem, GetCatalogueRequest,
    GetCatalogueResponse, catalogue_service_server::CatalogueService,
};
use lictor_auth::Role;
use lictor_licensing::ProductItem;
use lictor_storage::{StorageError, command::Command};
use prost::Message;
use tonic::{Request, Response, Status};

use super::{Counter, edge};
use crate::{
    domain::{
        catalogue::{Catalogue, CatalogueItem, DOCUMENT_BYTES, EncodedItem},
        diff,
    },
    failure::Failure,
    ids,
    store::Applied,
};

#[tonic::async_trait]
impl CatalogueService for Counter {
    async fn apply_catalogue(
        &self,
        request: Request<ApplyCatalogueRequest>,
    ) -> Result<Response<ApplyCatalogueResponse>, Status> {
        let caller = lictor_auth::caller(&request)?.key();
        let request = request.into_inner();
        let firm = edge::firm(request.firm_code)?;
        let items = Catalogue::read(&request.document, firm).and_then(Catalogue::encode).map_err(Failure::from)?;
        let body = request.encode_to_vec();
        let command = Command {
            caller: &caller,
            method: "ApplyCatalogue",
            request_id: if request.dry_run { "" } else { edge::request_id(&request.request_id)? },
            body: &body,
        };
        let now = self.0.now();
        let fresh = ids::items(items.len(), now);
        let answer = self
            .0
            .store
            .apply_items(firm, &items, &fresh, (!request.dry_run).then_some(&command), now, |applied| {
                told(&items, applied).encode_to_vec()
            })
            .await?;
        let answer = ApplyCatalogueResponse::decode(&*answer)
            .map_err(|error| edge::broken(&StorageError::inconsistent("command.answer", error.to_string())))?;
        Ok(Response::new(answer))
    }

    async fn get_catalogue(
        &self,
        request: Request<GetCatalogueRequest>,
    ) -> Result<Response<GetCatalogueResponse>, Status> {
        let caller = lictor_auth::caller(&request)?;
        // A document carries secret data in the clear; who only sells or helps sees the rows.
        let whole = caller.is(Role::Admin) || caller.is(Role::ProductManager);
        let firm = edge::firm(request.get_ref().firm_code)?;
        let stored = self.0.store.items(firm).await.map_err(|error| edge::broken(&error))?;
        let mut rows = Vec::with_capacity(stored.len());
        let mut items = Vec::new();
        for row in stored {
            let product_item = decoded(&row.product_item).map_err(|error| edge::broken(&error))?;
            rows.push(WireItem {
                item: row.name.clone(),
                product_code: row.product_code,
                text: product_item.options().text.as_ref().map(ToString::to_string).unwrap_or_default(),
                modules: u32::try_from(product_item.modules().len()).unwrap_or(u32::MAX),
                version: row.version,
            });
            if whole {
                let name = row
                    .name
                    .parse()
                    .map_err(|_| edge::broken(&StorageError::inconsistent("item.name", row.name.clone())))?;
                items.push(CatalogueItem { name, product_item, policy: row.policy });
            }
        }
        let document = if whole {
            Catalogue { firm_code: firm, items }
                .to_yaml()
                .map_err(|error| edge::broken(&StorageError::inconsistent("item_version", error)))?
        } else {
            String::new()
        };
        // A larger one does not fit into an answer; the rows do.
        let document = if document.len() > DOCUMENT_BYTES { String::new() } else { document };
        Ok(Response::new(GetCatalogueResponse { items: rows, document }))
    }
}

fn decoded(cbor: &[u8]) -> Result<ProductItem, StorageError> {
    lictor_license_file::product_item::decode(cbor)
        .map_err(|error| StorageError::inconsistent("item_version.product_item", error.to_string()))
}

/// The answer to an applied or compared document.
fn told(items: &[EncodedItem], applied: &Applied) -> ApplyCatalogueResponse {
    let name = |place: &usize| items[*place].item.name.to_string();
    let mut lines = Vec::new();
    for place in &applied.created {
        let item = &items[*place].item;
        let (code, modules) = (item.product_item.product_code(), item.product_item.modules().len());
        let modules = match modules {
            0 => "no modules".to_owned(),
            1 => "1 module".to_owned(),
            count => format!("{count} modules"),
        };
        lines.push(format!("{}: new, product {code}, {modules}", item.name));
    }
    for (place, before) in &applied.changed {
        let item = &items[*place].item;
        let old = decoded(&before.product_item).ok().and_then(|old| serde_json::to_value(old).ok()).unwrap_or_default();
        let new = serde_json::to_value(&item.product_item).unwrap_or_default();
        diff::lines(item.name.as_str(), &old, &new, &mut lines);
        let policy = |policy| serde_json::to_value(policy).unwrap_or_default();
        diff::lines(item.name.as_str(), &policy(before.policy), &policy(item.policy), &mut lines);
    }
    lines.truncate(diff::MAX_LINES);
    ApplyCatalogueResponse {
        created: applied.created.iter().map(name).collect(),
        changed: applied.changed.iter().map(|(place, _)| name(place)).collect(),
        unchanged: applied.unchanged.iter().map(name).collect(),
        diff: lines,
    }
}
