//! The compose example of a sidecar behind a network server, run as it stands in the repository.

use std::process::Command;

use anyhow::ensure;
use lictor_test_support::fleet::FIRM_CODE;
use lictor_test_support::programs::Answer;
use lictor_test_support::vendor::EDITOR;
use lictor_test_support::wait;
use lictor_tests_docker::root;
use lictor_tests_docker::site::Site;
use serde_json::Value;

const EXAMPLE: &str = "deploy/examples/behind-a-network-server/compose.yml";
const PROJECT: &str = "behind";
const NETWORK: &str = "behind_network-server-state";
const SIDECAR: &str = "behind_sidecar-state";

/// The example on the engine of a site.
struct Example {
    site: Site,
    lif: String,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = Answer::of(&mut self.compose(&["--profile", "job", "down", "--volumes", "--timeout", "1"]));
    }
}

impl Example {
    fn compose(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.program("docker-compose");
        command.args(["--project-name", PROJECT, "--file", EXAMPLE]).args(arguments).current_dir(root());
        command.env("LICTOR_VENDOR_LIF", &self.lif).env("LICTOR_JOB_IMAGE", "lictor/job:local");
        command
    }

    fn ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let answer = Answer::of(&mut self.compose(arguments))?;
        ensure!(answer.code == 0, "docker-compose {arguments:?}: {}{}", answer.output, answer.errors);
        Ok(answer.output.trim().to_owned())
    }

    fn health(&self, service: &str) -> anyhow::Result<String> {
        let id = self.ok(&["ps", "-q", service])?;
        self.site.ok(&["inspect", "--format", "{{.State.Health.Status}}", &id])
    }

    fn wait_until(&self, service: &str, health: &str) -> anyhow::Result<()> {
        wait::until(&format!("{service} is {health}"), || Ok((self.health(service)? == health).then_some(())))
    }

    /// What a server says of itself.
    fn report(&self, service: &str) -> anyhow::Result<String> {
        let id = self.ok(&["ps", "-q", service])?;
        let said = self.site.docker(&["exec", &id, "/usr/bin/license-server", "health"])?;
        Ok(format!("{}{}", said.output, said.errors))
    }

    /// Runs a job to its end: `version` needs nothing but a seat.
    fn job(&self) -> anyhow::Result<Answer> {
        let (firm, product) = (FIRM_CODE.to_string(), EDITOR.to_string());
        let words = ["run", "--rm", "-T", "job", "run", "--firm-code", &firm, "--product-code", &product, "--"];
        Answer::of(&mut self.compose(&[&words[..], &["/usr/bin/lictor", "--version"]].concat()))
    }

    /// Starts a job that goes on until it is stopped.
    fn start_job(&self, name: &str) -> anyhow::Result<()> {
        let (firm, product) = (FIRM_CODE.to_string(), EDITOR.to_string());
        let words = ["run", "-d", "--name", name, "job", "run", "--firm-code", &firm, "--product-code", &product, "--"];
        // The image holds no other program that goes on for ever.
        self.ok(&[&words[..], &["/usr/bin/license-server"]].concat()).map(drop)
    }

    fn until_jobs(&self, count: usize) -> anyhow::Result<()> {
        let what = format!("{count} jobs have seats of the sidecar");
        wait::until(&what, || Ok((self.site.sessions(SIDECAR)?.len() == count).then_some(())))
    }

    fn blocks(&self, volume: &str) -> anyhow::Result<Value> {
        self.site.at(volume, &["server", "blocks"])
    }
}

#[test]
fn jobs_get_seats_of_a_network_server_through_their_sidecar_and_go_on_without_it() -> anyhow::Result<()> {
    let Some(site) = Site::prepare()? else { return Ok(()) };
    let lif = site.path("vendor.lif");
    let example = Example { site, lif };
    example.ok(&["up", "-d", "network-server", "sidecar"])?;
    before_there_is_a_licence_both_say_why_they_are_not_healthy(&example)?;

    let made = example.site.at(NETWORK, &["server", "create-container", "--lif", &example.lif])?;
    ensure!(made["kind"] == "folder", "{made}");
    let taken = example.site.activate(NETWORK, "editor=3")?;
    ensure!(taken.code == 0, "{taken:?}");
    example.wait_until("network-server", "healthy")?;

    jobs_get_seats_through_the_sidecar(&example)?;
    the_sidecar_goes_on_while_the_network_server_is_away(&example)?;
    the_network_server_is_back_and_all_seats_are_there_again(&example)
}

fn before_there_is_a_licence_both_say_why_they_are_not_healthy(example: &Example) -> anyhow::Result<()> {
    for service in ["network-server", "sidecar"] {
        example.wait_until(service, "unhealthy")?;
        let report = example.report(service)?;
        ensure!(report.contains("licenses"), "{service} says why: {report}");
    }
    let refused = example.job()?;
    ensure!(refused.code == 120, "a job without a licence: {refused:?}");
    Ok(())
}

fn jobs_get_seats_through_the_sidecar(example: &Example) -> anyhow::Result<()> {
    let once = example.job()?;
    ensure!(once.code == 0, "{once:?}");
    example.wait_until("sidecar", "healthy")?;
    for name in ["one", "two"] {
        example.start_job(name)?;
    }
    example.until_jobs(2)?;
    let (lent, borrowed) = (example.blocks(NETWORK)?, example.blocks(SIDECAR)?);
    ensure!(lent["lent"].as_array().map(Vec::len) == Some(1), "the network server knows one block: {lent}");
    ensure!(borrowed["borrowed"][0]["used"] == 2, "{borrowed}");
    // Jobs and network server do not see each other.
    let (firm, product) = (FIRM_CODE.to_string(), EDITOR.to_string());
    let words = ["run", "--rm", "-T", "-e", "CODEMETER_HOST=network-server", "job", "run", "--firm-code", &firm];
    let past = Answer::of(&mut example.compose(&[&words[..], &["--product-code", &product, "--", "/bin/x"]].concat()))?;
    ensure!(past.code == 125, "a job that goes past its sidecar: {past:?}");
    Ok(())
}

fn the_sidecar_goes_on_while_the_network_server_is_away(example: &Example) -> anyhow::Result<()> {
    example.ok(&["stop", "--timeout", "20", "network-server"])?;
    ensure!(example.site.sessions(SIDECAR)?.len() == 2, "held seats are held");
    // A seat of the block that comes free is given to the next job, without a word from the network server.
    example.site.ok(&["stop", "--time", "20", "one"])?;
    example.until_jobs(1)?;
    let next = example.job()?;
    ensure!(next.code == 0, "inside the block: {next:?}");
    // What was not lent is not given: one job more than the block has seats is refused, and told who does not answer.
    let seats = example.blocks(SIDECAR)?["borrowed"][0]["seats"].as_u64().unwrap_or_default();
    ensure!((1..=3).contains(&seats), "seats of the block: {seats}");
    for number in 1..seats {
        example.start_job(&format!("away-{number}"))?;
    }
    example.until_jobs(usize::try_from(seats)?)?;
    let refused = example.job()?;
    ensure!(refused.code == 120 && refused.errors.contains("network-server"), "beyond the block: {refused:?}");
    ensure!(example.health("sidecar")? == "healthy", "its block is still good");
    Ok(())
}

fn the_network_server_is_back_and_all_seats_are_there_again(example: &Example) -> anyhow::Result<()> {
    example.ok(&["start", "network-server"])?;
    example.wait_until("network-server", "healthy")?;
    let held = example.site.sessions(SIDECAR)?.len();
    ensure!(held >= 1, "nobody lost his seat");
    // The sidecar asks it again within its pause; then all three seats of the licence can be held through the sidecar.
    for number in held..3 {
        let name = format!("back-{number}");
        wait::until("one more seat comes through the sidecar", || {
            let got = example.job()?;
            ensure!(got.code == 0, "{got:?}");
            Ok(Some(()))
        })?;
        example.start_job(&name)?;
        example.until_jobs(number + 1)?;
    }
    let refused = example.job()?;
    ensure!(refused.code == 120, "a fourth seat of three: {refused:?}");
    Ok(())
}
