//! A service's frame: its sockets, its checks, its metrics, and the moment it begins to serve.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use lictor_telemetry::Metrics;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{Gate, HeldListeners, Lifecycle, ListenSettings, Readiness, Running, StartError, admin, grpc};

/// How often the gRPC health service looks at the checks.
const HEALTH_PAUSE: Duration = Duration::from_secs(2);

/// Where a service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The gRPC listener.
    pub grpc: SocketAddr,
    /// The HTTP listener.
    pub http: SocketAddr,
}

/// A service that has its ports but does not serve yet.
#[derive(Debug)]
pub struct Frame {
    name: &'static str,
    grpc: TcpListener,
    http: TcpListener,
    addresses: Addresses,
    tls: Option<Arc<rustls::ServerConfig>>,
    lifecycle: Lifecycle,
    readiness: Readiness,
    metrics: Metrics,
    pages: Router,
}

impl Frame {
    /// Takes both ports, before anything slow is done.
    ///
    /// # Errors
    /// `Unreachable` with one sentence when a port is taken or may not be used.
    pub async fn bind(name: &'static str, listen: &ListenSettings) -> Result<Self, StartError> {
        let grpc = bind(listen.grpc, &listen.held, "gRPC", "GRPC_LISTEN").await?;
        let http = bind(listen.http, &listen.held, "HTTP", "HTTP_LISTEN").await?;
        let no_address = |error: io::Error| StartError::failed("a listener has no address", error);
        let addresses =
            Addresses { grpc: grpc.local_addr().map_err(no_address)?, http: http.local_addr().map_err(no_address)? };
        Ok(Self {
            name,
            grpc,
            http,
            addresses,
            tls: listen.tls.clone(),
            lifecycle: Lifecycle::new(listen.shutdown_grace),
            readiness: Readiness::default(),
            metrics: Metrics::new(),
            pages: Router::new(),
        })
    }

    /// Where it will serve, with the real ports.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Tasks and the stop.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// The checks behind `/ready` and gRPC health.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The registry behind `/metrics`.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Adds pages to the HTTP listener; `/live`, `/ready` and `/metrics` are taken.
    pub fn pages(&mut self, pages: Router) {
        self.pages = std::mem::take(&mut self.pages).merge(pages);
    }

    /// Serves the HTTP listener alone and gives the gRPC listener away: for a service that accepts its callers in its own
    /// way. What it runs on it belongs into the life of the returned [`Running`].
    pub fn serve_http_only(self) -> (TcpListener, Running) {
        let router = admin::router(self.readiness.clone(), self.metrics.clone(), &self.lifecycle).merge(self.pages);
        self.lifecycle.spawn("http", admin::serve(self.http, router, self.lifecycle.clone()));
        tracing::info!(service = self.name, grpc = %self.addresses.grpc, http = %self.addresses.http, "serving");
        (self.grpc, Running::new(self.addresses, self.lifecycle))
    }

    /// Serves `routes` behind `gate`. gRPC health is added and open.
    pub fn serve(self, routes: Routes, gate: Gate) -> Running {
        let reporter = HealthReporter::new();
        let health = tonic_health::pb::health_server::HealthServer::new(
            tonic_health::server::HealthService::from_health_reporter(reporter.clone()),
        );
        let routes = routes.add_service(health);
        let router = admin::router(self.readiness.clone(), self.metrics.clone(), &self.lifecycle).merge(self.pages);
        self.lifecycle.spawn("http", admin::serve(self.http, router, self.lifecycle.clone()));
        self.lifecycle.spawn(
            "grpc",
            grpc::serve(self.grpc, self.tls, routes, gate, self.metrics.clone(), self.lifecycle.clone()),
        );
        self.lifecycle.spawn("health", report_health(reporter, self.readiness, self.lifecycle.clone()));
        tracing::info!(service = self.name, grpc = %self.addresses.grpc, http = %self.addresses.http, "serving");
        Running::new(self.addresses, self.lifecycle)
    }
}

async fn report_health(
    reporter: HealthReporter,
    readiness: Readiness,
    lifecycle: Lifecycle,
) -> Result<(), std::convert::Infallible> {
    let soft = lifecycle.soft();
    loop {
        let status = if readiness.report().await.ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status("", status).await;
        tokio::select! {
            () = soft.cancelled() => {
                reporter.set_service_status("", ServingStatus::NotServing).await;
                return Ok(());
            }
            () = tokio::time::sleep(HEALTH_PAUSE) => {}
        }
    }
}

async fn bind(address: SocketAddr, held: &HeldListeners, what: &str, env: &str) -> Result<TcpListener, StartError> {
    if let Some(listener) = held.take(address) {
        let usable = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
        return usable.map_err(|error| StartError::failed("a listener that was held cannot be used", error));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::AddrInUse => "is in use by another program; next: stop it",
            io::ErrorKind::PermissionDenied => "may not be used by this user; next: take a port above 1023",
            io::ErrorKind::AddrNotAvailable => "is no address of this machine; next: take one of its own",
            _ => return StartError::unreachable(format!("the {what} listener cannot take {address}: {error}")),
        };
        StartError::unreachable(format!("{address} for the {what} listener {why}, or set {env} to another address"))
    })
}
