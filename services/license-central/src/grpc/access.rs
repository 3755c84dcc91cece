//! Who may call what. A call that does not stand here is refused to everybody.

use lictor_auth::{
    Access::{self, AnyOf},
    AccessTable,
    Role::{self, Admin, Auditor, BackOffice, ProductManager, Service, Support},
};

const MODELLERS: &[Role] = &[Admin, ProductManager];
const CATALOGUE_READERS: &[Role] = &[Admin, ProductManager, BackOffice, Support, Auditor];
const SELLERS: &[Role] = &[Admin, BackOffice];
const READERS: &[Role] = &[Admin, BackOffice, Support, Auditor];
const HELPERS: &[Role] = &[Admin, BackOffice, Support];
const SERVICES: Access = AnyOf(&[Service]);

/// Every RPC of license-central with the roles that may call it.
pub static ACCESS: AccessTable = &[
    ("/lictor.central.v1.CatalogueService/ApplyCatalogue", AnyOf(MODELLERS)),
    ("/lictor.central.v1.CatalogueService/GetCatalogue", AnyOf(CATALOGUE_READERS)),
    ("/lictor.central.v1.CustomerService/ListCustomers", AnyOf(READERS)),
    ("/lictor.central.v1.CustomerService/GetCustomer", AnyOf(READERS)),
    ("/lictor.central.v1.OrderService/CreateOrder", AnyOf(SELLERS)),
    ("/lictor.central.v1.OrderService/GetOrder", AnyOf(READERS)),
    ("/lictor.central.v1.OrderService/ListOrders", AnyOf(READERS)),
    ("/lictor.central.v1.OrderService/GetTicket", AnyOf(HELPERS)),
    ("/lictor.central.v1.LicenseService/ListLicenses", AnyOf(READERS)),
    ("/lictor.central.v1.LicenseService/GetLicense", AnyOf(READERS)),
    ("/lictor.central.v1.LicenseService/GetLicenseHistory", AnyOf(READERS)),
    ("/lictor.central.v1.LicenseService/ListTransfers", AnyOf(READERS)),
    ("/lictor.central.v1.LicenseService/CancelRenewal", AnyOf(HELPERS)),
    ("/lictor.central.v1.AssignmentService/AssignContainers", AnyOf(HELPERS)),
    ("/lictor.central.v1.AssignmentService/ListAssignments", AnyOf(READERS)),
    ("/lictor.central.v1.AllocationService/Plan", SERVICES),
    ("/lictor.central.v1.AllocationService/ListDue", SERVICES),
    ("/lictor.central.v1.AllocationService/GetTransfer", SERVICES),
    ("/lictor.central.v1.AllocationService/RedirectTransfer", SERVICES),
    ("/lictor.central.v1.AllocationService/NoteRebase", SERVICES),
    ("/lictor.central.v1.AllocationService/NoteBlocked", SERVICES),
    ("/lictor.central.v1.AllocationService/ResolveTicket", SERVICES),
    ("/lictor.central.v1.AllocationService/Commit", SERVICES),
    ("/lictor.central.v1.AllocationService/KeepReservation", SERVICES),
    ("/lictor.central.v1.AllocationService/Release", SERVICES),
    ("/lictor.central.v1.AllocationService/Confirm", SERVICES),
    ("/lictor.event.v1.EventFeedService/ListEvents", AnyOf(&[Service, Admin, Auditor])),
];
