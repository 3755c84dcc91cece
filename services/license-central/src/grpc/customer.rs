//! CustomerService: who bought.

use lictor_api::{
    central::v1::{
        Customer, GetCustomerRequest, GetCustomerResponse, ListCustomersRequest, ListCustomersResponse,
        customer_service_server::CustomerService,
    },
    convert::timestamp,
};
use tonic::{Request, Response, Status};

use super::{Counter, edge};
use crate::store::CustomerRow;

#[tonic::async_trait]
impl CustomerService for Counter {
    async fn list_customers(
        &self,
        request: Request<ListCustomersRequest>,
    ) -> Result<Response<ListCustomersResponse>, Status> {
        let request = request.into_inner();
        let firm = edge::firm(request.firm_code)?;
        let page = edge::page(request.page.as_ref(), "cus_")?;
        let mut rows = self.0.store.customers(firm, &page).await.map_err(|error| edge::broken(&error))?;
        let next_page_token = edge::cut(&mut rows, &page, |row| row.id.clone());
        let customers = rows.into_iter().map(shown).collect();
        Ok(Response::new(ListCustomersResponse { customers, next_page_token }))
    }

    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<GetCustomerResponse>, Status> {
        let request = request.into_inner();
        let firm = edge::firm(request.firm_code)?;
        let name = edge::line("a customer's id or name", request.customer.trim(), 128)?;
        let found = self.0.store.customer(firm, &name).await.map_err(|error| edge::broken(&error))?;
        let row = found.ok_or_else(|| edge::not_found(format!("there is no customer {name}"), "list the customers"))?;
        Ok(Response::new(GetCustomerResponse { customer: Some(shown(row)) }))
    }
}

fn shown(row: CustomerRow) -> Customer {
    Customer {
        customer_id: row.id,
        name: row.name,
        firm_code: row.firm,
        created_at: Some(timestamp(row.created_at)),
        orders: u32::try_from(row.orders).unwrap_or(u32::MAX),
    }
}
