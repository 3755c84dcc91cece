//! Who may call what. An RPC that is not here is refused to everybody.

use lictor_auth::{
    Access::AnyOf,
    AccessTable,
    Role::{Admin, Auditor, BackOffice, ProductManager, Service, Support},
};

/// Every RPC of this service.
pub static ACCESS: AccessTable = &[
    ("/lictor.update.v1.VendorService/InitVendor", AnyOf(&[Admin])),
    ("/lictor.update.v1.VendorService/GetVendor", AnyOf(&[Admin, Support, Auditor])),
    ("/lictor.update.v1.VendorService/GetRoot", AnyOf(&[Admin, Support, Auditor])),
    ("/lictor.update.v1.VendorService/ProposeRoot", AnyOf(&[Admin])),
    ("/lictor.update.v1.VendorService/SignRoot", AnyOf(&[Admin])),
    ("/lictor.update.v1.VendorService/InstallRoot", AnyOf(&[Admin])),
    ("/lictor.update.v1.VendorService/CreateLif", AnyOf(&[Admin, ProductManager, Support])),
    ("/lictor.update.v1.VendorService/ReplayArchive", AnyOf(&[Admin])),
    ("/lictor.update.v1.ContainerService/ListContainers", AnyOf(&[Admin, Support, BackOffice, Auditor])),
    ("/lictor.update.v1.ContainerService/GetContainer", AnyOf(&[Admin, Support, BackOffice, Auditor, Service])),
    ("/lictor.update.v1.UpdateService/TakeContext", AnyOf(&[Service, Admin, Support])),
    ("/lictor.update.v1.UpdateService/InspectContext", AnyOf(&[Service])),
    ("/lictor.update.v1.UpdateService/IssueUpdate", AnyOf(&[Service])),
    ("/lictor.update.v1.UpdateService/GetPendingUpdate", AnyOf(&[Service, Admin, Support])),
    ("/lictor.update.v1.UpdateService/CreateChallenge", AnyOf(&[Service, Admin, Support])),
    ("/lictor.update.v1.UpdateService/IssueRebase", AnyOf(&[Service])),
    ("/lictor.update.v1.UpdateService/BlockContainer", AnyOf(&[Service, Admin, Support])),
    ("/lictor.update.v1.UpdateService/SignTime", AnyOf(&[Service, Admin, Support])),
    ("/lictor.update.v1.UpdateService/ExportModifiedContext", AnyOf(&[Admin, Support])),
    ("/lictor.event.v1.EventFeedService/ListEvents", AnyOf(&[Service, Admin, Auditor])),
];
