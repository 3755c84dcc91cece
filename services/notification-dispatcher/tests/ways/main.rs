//! The ways beside webhooks, reports, and the operators' pages, against real counterparts: programs, a gRPC service, a mail
//! server, an OData service, a browser.
//!
//! Mail needs Debian's `python3-aiosmtpd`, pages need `chromium`; without them those tests say so and pass.

mod browser;
mod custom;
mod examples;
mod files;
mod interrupted;
mod mail;
mod odata;
mod pages;
mod reports;
mod sap;
mod shipments;
mod smtp;
mod transmitter;
mod world;
