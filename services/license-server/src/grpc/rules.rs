//! Access rules: which are in force, and what others would do.

use std::net::IpAddr;

use lictor_api::convert::timestamp;
use lictor_api::server::v1 as wire;
use lictor_api::server::v1::rule_service_server::RuleService;
use lictor_licensing::error::{ErrorCode, Problem};
use tonic::{Request, Response, Status};

use super::admin::AdminToken;
use super::{channel, explain, status, view};
use crate::domain::keeper::Keeper;
use crate::domain::peer::PeerContainer;
use crate::domain::rules::{Caller, Effect, Rules, Wish};
use crate::rules_file::RulesFile;
use crate::writer::Ledger;

/// Most sessions that are named as denied.
const MAX_DENIED: usize = 100;

/// The RPCs around access rules.
#[derive(Clone, Debug)]
pub(crate) struct RuleDesk {
    pub(crate) ledger: Ledger,
    pub(crate) token: AdminToken,
    pub(crate) file: RulesFile,
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[tonic::async_trait]
impl RuleService for RuleDesk {
    async fn get_rules(
        &self,
        request: Request<wire::GetRulesRequest>,
    ) -> Result<Response<wire::GetRulesResponse>, Status> {
        self.token.require(&channel(&request)?, request.metadata())?;
        let known = self.file.status();
        Ok(Response::new(wire::GetRulesResponse {
            file: known.file.map(|path| path.display().to_string()).unwrap_or_default(),
            loaded_at: known.loaded_at.map(timestamp),
            rules: count(known.rules),
            tests: count(known.tests),
            problem: known.problem.unwrap_or_default(),
        }))
    }

    async fn try_rules(
        &self,
        request: Request<wire::TryRulesRequest>,
    ) -> Result<Response<wire::TryRulesResponse>, Status> {
        self.token.require(&channel(&request)?, request.metadata())?;
        let wire::TryRulesRequest { rules, caller, firm_code, product_code } = request.into_inner();
        let tried = if rules.is_empty() { None } else { Some(Rules::read(&rules).map_err(wrong_rules)?) };
        let described = caller.map(|caller| Described::read(&caller)).transpose().map_err(|p| status(&p))?;
        let look = move |keeper: &Keeper, _| {
            let rules = tried.as_ref().unwrap_or_else(|| keeper.rules());
            wire::TryRulesResponse {
                rules: count(rules.count()),
                tests: count(rules.tests()),
                decision: described
                    .as_ref()
                    .map(|who| explain::decision(keeper, rules, &who.caller(), Wish { firm_code, product_code })),
                denied_sessions: denied(keeper, rules),
            }
        };
        self.ledger.read(look).await.map(Response::new).map_err(|problem| status(&problem))
    }
}

/// Sessions whose clients the rules would not let in now.
fn denied(keeper: &Keeper, rules: &Rules) -> Vec<wire::Session> {
    if rules.allow_all() {
        return Vec::new();
    }
    let sessions = keeper.state.sessions.values().filter(|session| {
        let (caller, wish) = keeper.caller_of(session);
        rules.decide(&caller, wish).effect == Effect::Deny
    });
    let mut sessions: Vec<_> = sessions.collect();
    sessions.sort_by_key(|session| session.id);
    sessions.into_iter().take(MAX_DENIED).map(|session| view::session(keeper, session)).collect()
}

fn wrong_rules(problem: crate::domain::rules::Problem) -> Status {
    status(&Problem::new(
        ErrorCode::InvalidArgument,
        format!("the access rules are not taken: {problem}"),
        "correct the file; docs/access-rules.md shows how one is written",
    ))
}

/// A caller as he was described.
struct Described {
    address: Option<IpAddr>,
    container: Option<PeerContainer>,
    host: String,
    user: String,
}

impl Described {
    fn read(caller: &wire::DescribedCaller) -> Result<Self, Problem> {
        let address = match &*caller.address {
            "" => None,
            text => Some(text.parse::<IpAddr>().map_err(|_| {
                Problem::new(
                    ErrorCode::InvalidArgument,
                    format!("{text:?} is no IP address"),
                    "write one like 172.18.0.9",
                )
            })?),
        };
        let inside = !caller.container.is_empty() || !caller.image.is_empty() || !caller.labels.is_empty();
        let container = inside.then(|| PeerContainer {
            id: String::new(),
            name: caller.container.clone(),
            image: caller.image.clone(),
            labels: caller.labels.clone().into_iter().collect(),
        });
        Ok(Self { address, container, host: caller.host.clone(), user: caller.user.clone() })
    }

    fn caller(&self) -> Caller<'_> {
        Caller { address: self.address, container: self.container.as_ref(), host: &self.host, user: &self.user }
    }
}
