//! Who may call what. A call that does not stand here is refused to everybody.

use lictor_auth::{
    Access::{self, AnyOf, Public},
    AccessTable,
    Role::{Admin, Auditor, BackOffice, Service, Support},
};

const PUSHERS: Access = AnyOf(&[Admin, BackOffice, Support]);

/// Every RPC of activation with those who may call it. What is public has its own proof: a ticket, or a signed file.
pub static ACCESS: AccessTable = &[
    ("/lictor.activation.v1.ActivationService/InspectTicket", Public),
    ("/lictor.activation.v1.ActivationService/Activate", Public),
    ("/lictor.activation.v1.ActivationService/SubmitContext", Public),
    ("/lictor.activation.v1.ActivationService/GetActivation", Public),
    ("/lictor.activation.v1.ActivationService/ReturnLicenses", Public),
    ("/lictor.activation.v1.ActivationService/TransferLicense", Public),
    ("/lictor.activation.v1.ActivationService/GetTransfer", Public),
    ("/lictor.activation.v1.ActivationService/ReplaceContainer", Public),
    ("/lictor.activation.v1.ActivationService/CreateChallenge", Public),
    ("/lictor.activation.v1.ActivationService/PullUpdate", Public),
    ("/lictor.activation.v1.ActivationService/RebaseContainer", Public),
    ("/lictor.activation.v1.ActivationService/SignTime", Public),
    ("/lictor.activation.v1.PushService/RetryActivation", AnyOf(&[Admin, Support])),
    ("/lictor.activation.v1.PushService/ListActivations", AnyOf(&[Admin, Support, Auditor])),
    ("/lictor.activation.v1.PushService/CreatePush", PUSHERS),
    ("/lictor.activation.v1.PushService/GetPendingUpdate", PUSHERS),
    ("/lictor.activation.v1.PushService/WithdrawLicense", PUSHERS),
    ("/lictor.activation.v1.PushService/TransferLicense", AnyOf(&[Admin, Support])),
    ("/lictor.activation.v1.PushService/ReplaceContainer", AnyOf(&[Admin, Support])),
    ("/lictor.activation.v1.PushService/RebaseContainer", AnyOf(&[Admin, Support])),
    ("/lictor.event.v1.EventFeedService/ListEvents", AnyOf(&[Service, Admin, Auditor])),
];
