//! `lictor activate` without arguments: asks for everything, online and by files.

mod carried;

use std::path::Path;

use lictor_api::activation::v1::InspectTicketResponse;
use lictor_licensing::error::ErrorCode;
use lictor_licensing::ticket::TicketCode;

use super::questions::{choice, holds_table, in_words, is_free, places_table};
use super::{VERB, Wanted};
use crate::ask::Asker;
use crate::environment::Environment;
use crate::failure::{Failure, Outcome};
use crate::remote::{Change, Online, Pick, Site, Step, Vendor, activation_object, activation_text, inspected};
use crate::resume::{Journal, unfinished};

/// What shells give a program that was stopped by Ctrl-C.
const STOPPED: u8 = 130;
/// Tickets that may be unknown before the wizard gives up; the vendor limits guessing anyway.
const MAX_UNKNOWN: usize = 5;

pub(super) async fn run(folder: &Path, environment: &Environment) -> Outcome {
    let Some(asker) = Asker::open() else {
        return Err(Failure::usage(
            "a ticket is missing, and there is no terminal to ask in",
            "give it: lictor activate TICKET, or lictor activate - to read it from stdin",
        ));
    };
    tokio::select! {
        done = lead(asker, folder, environment) => done,
        _ = tokio::signal::ctrl_c() => {
            asker.say("\nstopped; nothing is lost: lictor activate goes on where this ended");
            Err(Failure::Told(STOPPED))
        }
    }
}

async fn lead(asker: Asker, folder: &Path, environment: &Environment) -> Outcome {
    asker.say("Activate a ticket. Enter ends each answer; Ctrl-C stops, and nothing is lost.\n");
    let vendor = match Vendor::open(environment) {
        Ok(vendor) => vendor,
        Err(failure) => return carried::without_vendor(asker, &failure, environment).await,
    };
    let mut unknown = 0;
    let (ticket, holds) = loop {
        let ticket = ticket(asker).await?;
        match vendor.inspect(&ticket).await {
            Ok(holds) => break (ticket, holds),
            Err(Failure::Problem(problem)) if problem.code == ErrorCode::TicketUnknown && unknown < MAX_UNKNOWN => {
                unknown += 1;
                asker.tell(&Failure::Problem(problem));
            }
            Err(failure) if is_away(&failure) => {
                return carried::without_vendor(asker, &failure, environment).await;
            }
            Err(failure) => return Err(failure),
        }
    };
    asker.say(&format!("\nThis ticket of firm {} holds:\n\n{}\n", holds.firm_code, holds_table(&holds)));
    if let Some(begun) = unfinished(folder, VERB, &ticket) {
        let licenses: Vec<Pick> = begun.choices.iter().filter_map(|text| Pick::parse(text).ok()).collect();
        let what = in_words(&licenses, &holds);
        asker.say(&format!("An earlier run was interrupted: {what} into container {}.", begun.serial));
        if asker.yes("Go on with it?", true).await? {
            let wanted = Wanted { ticket, licenses };
            let online = Online { vendor, site: Site::open(environment).await?, out: environment.out.clone() };
            return activate(asker, &wanted, holds.firm_code, begun.serial, &online, folder, environment).await;
        }
    }
    let wanted = Wanted { licenses: licenses(asker, &holds).await?, ticket };
    let site = match Site::open(environment).await {
        Ok(site) => site,
        Err(failure) => {
            asker.say(&format!("\nNo licence server can be changed from here: {failure}."));
            return carried::by_hand(asker, &wanted, &holds, &vendor, environment).await;
        }
    };
    let mut firms = site.firms().await?;
    firms.retain(|held| held.firm_code == holds.firm_code);
    if firms.is_empty() {
        asker.say(&format!(
            "\nThe licence server at {} has no container for firm {} yet. The vendor's licence information file makes one:\n  \
             lictor server create-container --lif F.lif",
            site.address(),
            holds.firm_code
        ));
    }
    asker.say(&format!("\nWhich container gets them?\n\n{}\n", places_table(&firms, &site.address())));
    let place = asker.number("Number", firms.len() + 1).await?;
    let Some(held) = firms.get(place) else {
        return carried::by_hand(asker, &wanted, &holds, &vendor, environment).await;
    };
    let question = format!("\nActivate {} into container {}?", in_words(&wanted.licenses, &holds), held.serial);
    if !asker.yes(&question, true).await? {
        asker.say("nothing was changed");
        return Err(Failure::Told(ErrorCode::Internal.exit_code()));
    }
    let online = Online { vendor, site, out: environment.out.clone() };
    activate(asker, &wanted, holds.firm_code, held.serial.clone(), &online, folder, environment).await
}

/// True when the vendor cannot be reached from here, now or ever.
fn is_away(failure: &Failure) -> bool {
    matches!(failure, Failure::Problem(problem) if matches!(problem.code, ErrorCode::Unavailable | ErrorCode::DeadlineExceeded))
}

/// Asks for the ticket until its check character fits. What was typed is masked as soon as it is right.
async fn ticket(asker: Asker) -> Outcome<TicketCode> {
    const QUESTION: &str = "Ticket:";
    let mut lines = 1;
    loop {
        match asker.line(QUESTION).await?.parse::<TicketCode>() {
            Ok(ticket) => {
                asker.replace_lines(lines, &format!("{QUESTION} {}", ticket.masked()));
                return Ok(ticket);
            }
            Err(error) => {
                asker.say(&format!("{error}\ncompare it with what you were sent, group by group"));
                lines += 3;
            }
        }
    }
}

async fn licenses(asker: Asker, holds: &InspectTicketResponse) -> Outcome<Vec<Pick>> {
    let free = holds.licenses.iter().filter(|license| is_free(license)).count();
    if free == 0 {
        asker.say("Nothing of it is free. What was collected already can be fetched again into the same container.");
        return match asker.yes("Fetch it again?", false).await? {
            true => Ok(Vec::new()),
            false => Err(Failure::new(
                ErrorCode::WrongState,
                "nothing of this ticket is free",
                "give licenses back where they lie: lictor return TICKET",
            )),
        };
    }
    let splits = holds.licenses.iter().any(|license| is_free(license) && license.quantity > 1);
    if free == 1 && !splits {
        return Ok(Vec::new());
    }
    asker.say(
        "Which ones? Numbers separated by commas; 1=3 takes three seats of number 1.\nEnter takes all that are free.",
    );
    asker.parsed("Numbers [all]:", |answer| choice(answer, holds)).await
}

async fn activate(
    asker: Asker,
    wanted: &Wanted,
    firm_code: u32,
    serial: String,
    online: &Online,
    folder: &Path,
    environment: &Environment,
) -> Outcome {
    let journal = Journal::of(folder, wanted.subject(), &serial);
    let change = Change { firm_code, serial, fresh: false, journal };
    let watch = |step: Step| {
        asker.say(match step {
            Step::Resumed => "1 of 4  the context of the earlier run is used",
            Step::ContextTaken => "1 of 4  the container's context is taken",
            Step::UpdateIssued => "2 of 4  the vendor issued the update",
            Step::Imported => "3 of 4  the container took it",
            Step::ReceiptSent => "4 of 4  the vendor has the receipt",
        });
    };
    let activation = wanted.online(online, &change, &watch).await?;
    let holds = inspected(&online.vendor, &wanted.ticket).await;
    asker.say(&format!("\nDone: {} is in container {}.", in_words(&wanted.licenses, &holds), activation.serial));
    environment.out.one(&activation_object(&activation, &holds), || activation_text(&activation, &holds));
    Ok(())
}
