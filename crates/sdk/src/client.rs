//! A running program as a client of licence servers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lictor_api::server::v1 as wire;
use lictor_clock::{SharedClock, SystemClock};
use lictor_key_store::MemorySigner;
use lictor_signing::{GrantStatement, PublicKey, RootError, Signer as _};
use tonic::Code;

use crate::connection::{ConnectError, Connection};
use crate::error::{AcquireError, TrustError};
use crate::request::Request;
use crate::search::{Found, Search, Wish};
use crate::seat::{self, Seat};
use crate::trust::{Asked, Issuer, Trust, open_grant};
use crate::wait::Standing;
use crate::{Address, AddressError};

/// How often one server is asked when it goes away in the middle, and how often the whole list when nobody answers.
pub(crate) const ATTEMPTS: u32 = 3;
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The list of servers is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// What should be trusted is not a signed root document.
    #[error("the vendor's root cannot be trusted: {0}")]
    Root(#[from] RootError),
    /// The licence information file cannot be read.
    #[error("the licence information file cannot be used: {0}")]
    LicenseInformation(String),
    /// Nothing is trusted, so no server could be believed.
    #[error("no vendor root is given: call trust_root or trust_lif")]
    NoTrust,
    /// The machine gives no random bytes.
    #[error("the machine gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Collects what a [`Client`] needs.
#[derive(Debug, Default)]
pub struct ClientBuilder {
    trust: Trust,
    servers: Option<Vec<Address>>,
    clock: Option<SharedClock>,
    key_seed: Option<[u8; 32]>,
    time_limit: Option<Duration>,
    problem: Option<BuildError>,
}

impl ClientBuilder {
    /// Trusts the vendor of a root document, usually compiled in with `include_bytes!`.
    #[must_use]
    pub fn trust_root(mut self, root_document: &[u8]) -> Self {
        if let Err(error) = self.trust.add_root(root_document) {
            self.problem.get_or_insert(error.into());
        }
        self
    }

    /// Trusts the vendor of a licence information file.
    #[must_use]
    pub fn trust_lif(mut self, lif: &[u8]) -> Self {
        match lictor_license_file::lif::read(lif).map(|opened| opened.root) {
            Ok(root) => self.trust.add(root),
            Err(error) => {
                self.problem.get_or_insert(BuildError::LicenseInformation(error.to_string()));
            }
        }
        self
    }

    /// Where to look, instead of `CODEMETER_HOST`: `name[:port]`, several separated by commas, or `unix:/path`.
    #[must_use]
    pub fn server(mut self, list: &str) -> Self {
        match Address::parse_list(list) {
            Ok(addresses) => self.servers = Some(addresses),
            Err(error) => {
                self.problem.get_or_insert(error.into());
            }
        }
        self
    }

    /// Another clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The secret of the client key, instead of a fresh one: a program that was started anew within its reconnect grace
    /// can ask for its seat again with the same key and request id. Keep it as secret as any private key.
    #[must_use]
    pub const fn key_seed(mut self, seed: [u8; 32]) -> Self {
        self.key_seed = Some(seed);
        self
    }

    /// Longest time for an answer of [`Client::acquire`], over all servers of the list; half a minute when not given. Waiting
    /// in a queue is not counted.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Makes the client. It connects when it is first used.
    ///
    /// # Errors
    /// The first thing that was wrong in any call before.
    pub fn build(self) -> Result<Client, BuildError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if self.trust.is_empty() {
            return Err(BuildError::NoTrust);
        }
        // Neither way gives an empty list.
        let servers = match self.servers {
            Some(servers) => servers,
            None => Address::from_environment()?,
        };
        let seed = match self.key_seed {
            Some(seed) => seed,
            None => random().map_err(BuildError::Random)?,
        };
        let key = MemorySigner::from_seed(&seed);
        let public = key.public_key();
        Ok(Client(Arc::new(Inner {
            trust: self.trust,
            search: Search::new(servers, self.time_limit),
            clock: self.clock.unwrap_or_else(SystemClock::shared),
            // Any key may end the handshake; `connection` demands the proof.
            tls: Arc::new(crate::tls::client_config(|_| true)),
            key,
            public,
            connections: std::sync::Mutex::default(),
        })))
    }
}

/// One running copy of a protected program. Clones are the same copy: all their seats belong to one client key.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    trust: Trust,
    pub(crate) search: Search,
    pub(crate) clock: SharedClock,
    tls: Arc<rustls::ClientConfig>,
    key: MemorySigner,
    pub(crate) public: PublicKey,
    connections: std::sync::Mutex<HashMap<Address, Arc<Place>>>,
}

/// Where the connection to one server is kept: whoever makes it keeps nobody from the other servers.
type Place = tokio::sync::Mutex<Option<Arc<Connection>>>;

impl Client {
    /// Starts to build a client.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// The public key of this client.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    /// Takes a seat from the first server that has one. A lost answer is asked for again under the same request id, so
    /// it never costs a second seat.
    ///
    /// # Errors
    /// [`AcquireError::Refused`] with every reason when servers answered but none has a seat; the other kinds say why no
    /// server could be asked or believed.
    pub async fn acquire(&self, request: Request) -> Result<Seat, AcquireError> {
        self.acquire_telling(request, |_| {}).await
    }

    /// The same, and tells how the program stands in the queue whenever that changes, if [`Request::wait`] lets it wait. A
    /// program that waits does so at the first server all of whose seats are taken. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// As for [`Client::acquire`]; a refusal after the time to wait was over is the one of that moment.
    pub async fn acquire_telling(
        &self,
        request: Request,
        mut told: impl FnMut(Standing) + Send,
    ) -> Result<Seat, AcquireError> {
        if !self.0.trust.knows(request.firm_code) {
            let address = self.0.search.first().clone();
            return Err(AcquireError::NotTrusted { address, reason: TrustError::UnknownFirm(request.firm_code) });
        }
        let mut id = [0; 16];
        match request.id {
            Some(given) => id = given,
            None => getrandom::fill(&mut id).map_err(|error| self.local_failure(&error))?,
        }
        let nonce = random().map_err(|error| self.local_failure(&error))?;
        let wish = Wish { request: &request, id: &id, nonce: &nonce };
        let found = self.look(&wish).await?;
        let refused = match found {
            Found::Seat(seat) => return Ok(*seat),
            Found::Nothing { queue: Some(address), .. } if !request.wait.is_zero() => {
                let waited = self.wait_at(&address, &request, &id, &nonce, &mut told).await;
                return waited.map_err(|error| match error {
                    AcquireError::Refused(refusal) => AcquireError::Refused(self.0.search.naming(&address, refusal)),
                    other => other,
                });
            }
            Found::Nothing { refusal, .. } => refusal,
        };
        Err(AcquireError::Refused(refused))
    }

    fn local_failure(&self, error: &getrandom::Error) -> AcquireError {
        let reason = format!("this machine gives no random bytes: {error}");
        AcquireError::Unreachable(
            self.0.search.servers().iter().map(|address| (address.clone(), reason.clone())).collect(),
        )
    }

    pub(crate) async fn acquire_from(&self, address: &Address, wish: &Wish<'_>) -> Result<Seat, AcquireError> {
        let Wish { request, id, nonce } = *wish;
        let mut last = String::new();
        let mut certificate_missed = false;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            let connection = match self.0.connection(address).await {
                Ok(connection) => connection,
                Err(ConnectError::NotTrusted(reason)) => {
                    return Err(AcquireError::NotTrusted { address: address.clone(), reason });
                }
                // Another server may be there at once; this one is asked again when none is.
                Err(ConnectError::Unreachable(reason)) if attempt == 0 => {
                    return Err(AcquireError::Unreachable(vec![(address.clone(), reason)]));
                }
                Err(ConnectError::Unreachable(reason)) => {
                    last = reason;
                    continue;
                }
            };
            // A server that cannot be believed is not asked at all: its seat would be of no use and yet taken.
            match connection.certificate(request.firm_code) {
                Ok(_) | Err(TrustError::NoCertificate(_)) => {}
                Err(reason) => return Err(self.not_trusted(address, reason)),
            }
            let asked_at = self.0.clock.boottime();
            let message = request.to_wire(id, self.0.public.as_bytes(), nonce, connection.proof());
            let answer = match connection.seats.clone().acquire(message).await {
                Ok(answer) => answer.into_inner(),
                Err(status) if may_retry(&status) => {
                    connection.give_up();
                    status.message().clone_into(&mut last);
                    continue;
                }
                Err(status) => {
                    let problem = lictor_api::error::problem(&status);
                    return Err(AcquireError::Failed { address: address.clone(), problem });
                }
            };
            connection.proved();
            let grant = match answer.outcome {
                Some(wire::acquire_response::Outcome::Grant(grant)) => grant,
                Some(wire::acquire_response::Outcome::Refusal(refusal)) => {
                    return Err(AcquireError::Refused(refusal.into()));
                }
                None => return Err(self.not_trusted(address, TrustError::Malformed("the answer is empty"))),
            };
            match self.believe(&connection, request, nonce, &grant) {
                Ok(statement) => {
                    return Ok(seat::hold(
                        Arc::clone(&self.0),
                        address.clone(),
                        connection,
                        statement,
                        &grant,
                        asked_at,
                    ));
                }
                // The firm may have come to the server after this connection was made: ask it once more who it is.
                Err(TrustError::NoCertificate(_)) if !certificate_missed => {
                    certificate_missed = true;
                    connection.give_up();
                    last = "its certificates changed".to_owned();
                }
                Err(reason) => {
                    give_back(&connection, grant.session_id);
                    return Err(self.not_trusted(address, reason));
                }
            }
        }
        Err(AcquireError::Unreachable(vec![(address.clone(), last)]))
    }

    pub(crate) fn believe(
        &self,
        connection: &Connection,
        request: &Request,
        nonce: &[u8; 32],
        grant: &wire::Grant,
    ) -> Result<GrantStatement, TrustError> {
        let issuer = match &grant.chain {
            // Seats that another server lends, to the very key that this connection ends at.
            Some(chain) if chain.firm_code == request.firm_code => {
                self.0.trust.delegated(chain, &connection.lease_key)?
            }
            Some(_) => return Err(TrustError::Chain("it is of another firm".to_owned())),
            None => Issuer::Container(connection.certificate(request.firm_code)?.clone()),
        };
        let asked = Asked {
            client_key: &self.0.public,
            nonce,
            firm_code: request.firm_code,
            product_code: request.product_code,
            feature_map: request.feature_map,
        };
        open_grant(&issuer, (&grant.statement, &grant.proof), &asked)
    }

    fn not_trusted(&self, address: &Address, reason: TrustError) -> AcquireError {
        AcquireError::NotTrusted { address: address.clone(), reason }
    }
}

impl Inner {
    /// The live connection to a server, or a new one. Callers that come while one is being made wait for it.
    pub(crate) async fn connection(&self, address: &Address) -> Result<Arc<Connection>, ConnectError> {
        let place = {
            let mut places = self.connections.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(places.entry(address.clone()).or_default())
        };
        let mut known = place.lock().await;
        if let Some(connection) = known.as_ref().filter(|connection| !connection.is_broken()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(Connection::open(address, &self.tls, &self.trust, &self.key).await?);
        *known = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("search", &self.0.search).field("key", &self.0.public).finish_non_exhaustive()
    }
}

/// Gives back a seat that this program will not use, as far as that can be done without waiting.
pub(crate) fn give_back(connection: &Arc<Connection>, session_id: String) {
    let connection = Arc::clone(connection);
    tokio::spawn(async move {
        let request = wire::ReleaseRequest { session_id, proof: connection.proof() };
        // What the server does not hear it finds out by itself.
        let _ = connection.seats.clone().release(request).await;
    });
}

/// Whether the connection failed and not the call: the same message may be sent again on a new connection. What a licence
/// server says by itself always has details.
pub(crate) fn may_retry(status: &tonic::Status) -> bool {
    status.details().is_empty()
        && matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Internal
        )
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
