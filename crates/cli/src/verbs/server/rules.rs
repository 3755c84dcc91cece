//! Access rules of the licence server: which are in force, whether a file is right, what somebody would get.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lictor_api::server::v1::rule_service_client::RuleServiceClient;
use lictor_api::server::v1::{DescribedCaller, GetRulesRequest, RuleDecision, Session, TryRulesRequest};
use lictor_licensing::error::ErrorCode;
use serde_json::{Value, json};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::args::number;
use crate::connect::{Caller, ServerLink};
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::{files, output, show};

#[derive(Debug, Subcommand)]
pub(crate) enum RuleVerbs {
    /// Say which rules are in force, and what is wrong with the file if it was not taken
    #[command(after_help = "Example:\n  lictor server rules show")]
    Show,
    /// Read a file of rules and run its tests, without putting it in force
    ///
    /// Names also the sessions of now that the rules would not have let in.
    #[command(after_help = "Example:\n  lictor server rules check rules.toml")]
    Check(Check),
    /// Say what rules make of a caller that is described, without putting them in force
    #[command(after_help = "\
Examples:
  lictor server rules try --product-code 201 --address 10.0.0.7 --user ann
  lictor server rules try --file rules.toml --product-code 201 \\
    --address 172.18.0.9 --image registry.local/ci/linux:12 --label team=red")]
    Try(Try),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file; - reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Try {
    /// A file of rules [default: the rules in force]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// The product
    #[arg(long, value_name = "P", value_parser = number)]
    product_code: u32,

    /// Address of the caller; none stands for the Unix socket
    #[arg(long, value_name = "IP", default_value = "", hide_default_value = true)]
    address: String,

    /// Host, as the program says
    #[arg(long, value_name = "HOST", default_value = "", hide_default_value = true)]
    host: String,

    /// User, as the program says
    #[arg(long, value_name = "USER", default_value = "", hide_default_value = true)]
    user: String,

    /// Name of the caller's container
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    container: String,

    /// Image of the caller's container
    #[arg(long, value_name = "IMAGE", default_value = "", hide_default_value = true)]
    image: String,

    /// Label of the caller's container; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn client(link: &ServerLink) -> RuleServiceClient<InterceptedService<Channel, Caller>> {
    RuleServiceClient::new(link.channel())
}

fn read(path: &Path) -> Outcome<String> {
    let text = String::from_utf8(files::read(path)?).map_err(|_| {
        Failure::new(
            ErrorCode::InvalidArgument,
            format!("{} is not a text in UTF-8", path.display()),
            "give a file of access rules; docs/access-rules.md shows how one is written",
        )
    })?;
    if text.trim().is_empty() {
        let sentence = format!("{} is empty: it would allow everything", path.display());
        return Err(Failure::new(ErrorCode::InvalidArgument, sentence, "write rules, or unset LICTOR_RULES_FILE"));
    }
    Ok(text)
}

impl RuleVerbs {
    pub(super) async fn run(self, environment: &Environment) -> Outcome {
        match self {
            Self::Show => shown(environment).await,
            Self::Check(verb) => check(&verb, environment).await,
            Self::Try(verb) => tried(verb, environment).await,
        }
    }
}

async fn shown(environment: &Environment) -> Outcome {
    let link = environment.server_as_admin().await?;
    let answer = client(&link).get_rules(GetRulesRequest {}).await.map_err(|status| link.failed(status))?.into_inner();
    let object = json!({
        "file": answer.file,
        "loaded_at": show::time(answer.loaded_at.as_ref()),
        "rules": answer.rules,
        "tests": answer.tests,
        "problem": answer.problem,
    });
    environment.out.one(&object, || {
        if answer.file.is_empty() {
            return "there is no file with access rules: everything is allowed; next: set LICTOR_RULES_FILE".to_owned();
        }
        let in_force = format!(
            "{}: {} rules in force since {}, {} tests passed",
            answer.file,
            answer.rules,
            show::time_word(answer.loaded_at.as_ref()),
            answer.tests
        );
        if answer.problem.is_empty() {
            return in_force;
        }
        format!("{in_force}\nthe file as it is now was not taken: {}", answer.problem)
    });
    Ok(())
}

async fn check(verb: &Check, environment: &Environment) -> Outcome {
    let rules = read(&verb.file)?;
    let link = environment.server_as_admin().await?;
    let request = TryRulesRequest { rules, ..TryRulesRequest::default() };
    let answer = client(&link).try_rules(request).await.map_err(|status| link.failed(status))?.into_inner();
    let object = json!({
        "rules": answer.rules,
        "tests": answer.tests,
        "denied_sessions": answer.denied_sessions.iter().map(session).collect::<Vec<_>>(),
    });
    environment.out.one(&object, || {
        let mut text = format!("good: {} rules, {} tests passed", answer.rules, answer.tests);
        if answer.tests == 0 {
            text.push_str("\nnext: add tests, so that a mistake in a rule is noticed before it locks somebody out");
        }
        if !answer.denied_sessions.is_empty() {
            let rows = answer
                .denied_sessions
                .iter()
                .map(|session| vec![session.product_code.to_string(), session.client.clone(), session.station.clone()])
                .collect();
            let table = output::table(&["product", "client", "station"], rows);
            text.push_str(&format!("\nwho holds a seat now and would not get one:\n{table}"));
        }
        text
    });
    Ok(())
}

fn session(session: &Session) -> Value {
    json!({
        "session_id": session.session_id,
        "product_code": session.product_code,
        "client": session.client,
        "station": session.station,
    })
}

async fn tried(verb: Try, environment: &Environment) -> Outcome {
    let firm_code = environment.firm_code()?;
    let rules = verb.file.as_deref().map(read).transpose()?.unwrap_or_default();
    let link = environment.server_as_admin().await?;
    let caller = DescribedCaller {
        address: verb.address,
        host: verb.host,
        user: verb.user,
        container: verb.container,
        image: verb.image,
        labels: verb.labels.into_iter().collect(),
    };
    let request = TryRulesRequest { rules, caller: Some(caller), firm_code, product_code: verb.product_code };
    let answer = client(&link).try_rules(request).await.map_err(|status| link.failed(status))?.into_inner();
    let decision = answer.decision.unwrap_or_default();
    environment.out.one(&decision_object(&decision), || decision_text(&decision));
    Ok(())
}

/// What rules say of a caller, for scripts.
pub(super) fn decision_object(decision: &RuleDecision) -> Value {
    let reservations: Vec<Value> = decision
        .reservations
        .iter()
        .map(|one| json!({ "rule": one.rule, "seats": one.seats, "held": one.held, "fits": one.fits }))
        .collect();
    json!({ "allowed": decision.allowed, "rule": decision.rule, "reservations": reservations })
}

/// What rules say of a caller, for people.
pub(super) fn decision_text(decision: &RuleDecision) -> String {
    let word = if decision.allowed { "allowed" } else { "denied" };
    let mut text = match &*decision.rule {
        "" => format!("{word} by the default of the access rules"),
        rule => format!("{word} by the access rule {rule:?}"),
    };
    for one in &decision.reservations {
        let whom = if one.fits { "for this caller among others" } else { "for others" };
        text.push_str(&format!(
            "\nrule {:?} keeps {} seats {whom}; {} of them are held",
            one.rule, one.seats, one.held
        ));
    }
    text
}
