//! A receiver that is called by gRPC, to start one's own from: it keeps each notification once, under its id, in a folder.
//!
//! ```sh
//! transmitter 0.0.0.0:7443 inbox token.txt certificate.pem key.pem
//! lictor notify destination add --custom https://erp.example:7443 --credential-file token.txt
//! ```
//!
//! Without certificate and key it speaks plain HTTP/2, which the dispatcher uses only towards hosts that its operator allows.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use lictor_api::notification::v1::{
    TransmitRequest, TransmitResponse,
    transmitter_server::{Transmitter, TransmitterServer},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

struct Inbox {
    folder: PathBuf,
    authorization: String,
}

#[tonic::async_trait]
impl Transmitter for Inbox {
    async fn transmit(&self, request: Request<TransmitRequest>) -> Result<Response<TransmitResponse>, Status> {
        let given = request.metadata().get("authorization").map(|value| value.as_bytes());
        if given != Some(self.authorization.as_bytes()) {
            return Err(Status::unauthenticated("the token is not the one of this receiver"));
        }
        let notification = request.into_inner();
        let id = notification.event_id;
        // An id becomes a file's name here: nothing may be in it that leads elsewhere.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            return Err(Status::invalid_argument("the id is no id of an event"));
        }
        let folder = self.folder.clone();
        let kept = tokio::task::spawn_blocking(move || keep(&folder, &id, &notification.body)).await;
        match kept.map_err(|error| Status::internal(error.to_string()))? {
            Ok(()) => Ok(Response::new(TransmitResponse { gone: false, note: "kept".to_owned() })),
            // It came before, and the answer was lost on its way: just as good.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Status::already_exists("kept before")),
            // Anything but OK, and the dispatcher brings it again later.
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

/// Answering OK means that it is on disk, whole, under its own name.
fn keep(folder: &Path, id: &str, body: &[u8]) -> io::Result<()> {
    let place = folder.join(format!("{id}.json"));
    if place.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let draft = folder.join(format!(".{id}.draft"));
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(body)?;
    file.sync_all()?;
    std::fs::rename(&draft, &place)?;
    std::fs::File::open(folder)?.sync_all()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, folder, token, tls) = match arguments.as_slice() {
        [listen, folder, token] => (listen, folder, token, None),
        [listen, folder, token, certificate, key] => (listen, folder, token, Some((certificate, key))),
        _ => return Err("usage: transmitter LISTEN FOLDER TOKEN_FILE [CERTIFICATE KEY]".into()),
    };
    let token = std::fs::read_to_string(token)?;
    let inbox = Inbox { folder: folder.into(), authorization: format!("Bearer {}", token.trim()) };
    let mut server = Server::builder();
    if let Some((certificate, key)) = tls {
        let identity = Identity::from_pem(std::fs::read(certificate)?, std::fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let listener = TcpListener::bind(listen).await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    server.add_service(TransmitterServer::new(inbox)).serve_with_incoming(TcpIncoming::from(listener)).await?;
    Ok(())
}
