//! The main job in containers: applications on the shared network find the licence server by `CODEMETER_HOST`, its state
//! lives in a named volume and survives a new container.

use anyhow::ensure;
use lictor_test_support::fleet::FIRM_CODE;
use lictor_test_support::vendor::{catalogue, text, ticket_of};
use lictor_test_support::wait;
use lictor_tests_docker::steps::Reader;
use lictor_tests_docker::{System, root};

const SERVICES: [&str; 4] = ["license-central", "activation", "push-update-generator", "notification-dispatcher"];

#[test]
fn the_main_job_runs_in_containers_and_the_page_for_operators_is_true() -> anyhow::Result<()> {
    let Some(mut system) = System::prepare()? else { return Ok(()) };
    the_main_job_runs_in_containers(&system)?;
    // On the same engine and images: both take longer to make than to use.
    system.down()?;
    system.overlay("deploy/pkcs11/compose.yml");
    the_first_steps_work_as_written_with_keys_in_a_token(&system)
}

fn the_main_job_runs_in_containers(system: &System) -> anyhow::Result<()> {
    images_are_small_and_without_privileges(system)?;

    system.compose_ok(&["up", "-d"])?;
    for service in SERVICES {
        system.wait_until_healthy(service)?;
    }
    let seats = set_up(system)?;
    seats_are_found_by_host_name_and_counted(system)?;
    the_state_survives_a_new_container(system, &seats)
}

fn images_are_small_and_without_privileges(system: &System) -> anyhow::Result<()> {
    for service in SERVICES.iter().chain(&["license-server", "lictor"]) {
        let image = format!("lictor/{service}:local");
        ensure!(system.inspect(&image, "{{.Config.User}}")? == "65532:65532", "{image} runs as root");
        let shell = system.docker(&["run", "--rm", "--entrypoint", "/bin/sh", &image, "-c", "true"])?;
        ensure!(shell.code != 0, "{image} has a shell");
        let bytes: u64 = system.inspect(&image, "{{.Size}}")?.parse()?;
        // Every host of a cluster pulls this one.
        ensure!(*service != "license-server" || bytes < 25_000_000, "{image} has {bytes} bytes");
    }
    Ok(())
}

/// Vendor, catalogue, container, and a licence with two seats; gives the licence's id.
fn set_up(system: &System) -> anyhow::Result<String> {
    let firm = FIRM_CODE.to_string();
    system.lictor(&["vendor", "init", "--firm-code", &firm, "--name", "Example"])?;
    system.lictor(&["vendor", "lif", "--binding", "folder", "-o", "/trust/vendor.lif"])?;

    let folder = std::env::temp_dir().join(format!("lictor-catalogue-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("catalogue.yaml"), catalogue())?;
    let mount = format!("{}:/catalogue:ro", folder.display());
    system.compose_ok(&[
        "run",
        "--rm",
        "-T",
        "-v",
        &mount,
        "lictor",
        "catalogue",
        "apply",
        "/catalogue/catalogue.yaml",
    ])?;
    std::fs::remove_dir_all(&folder)?;

    // Not healthy before it could grant, and it says why.
    let server = system.container("license-server")?;
    wait::until("the health command has run", || {
        Ok((system.inspect(&server, "{{.State.Health.Status}}")? == "unhealthy"
            || !system.inspect(&server, "{{json .State.Health.Log}}")?.contains("[]"))
        .then_some(()))
    })?;
    ensure!(system.inspect(&server, "{{.State.Health.Status}}")? != "healthy", "healthy without any licence");

    system.lictor(&["server", "create-container", "--lif", "/trust/vendor.lif"])?;
    let order = system.lictor(&["order", "create", "--customer", "Nova", "--item", "editor=2"])?;
    let (ticket, license) = ticket_of(&order)?;
    system.lictor(&["activate", &ticket])?;
    wait::until("the licence is confirmed", || {
        Ok((text(&system.lictor(&["license", "show", &license])?, "state")? == "confirmed").then_some(()))
    })?;
    system.wait_until_healthy("license-server")?;
    Ok(license)
}

fn sessions(system: &System) -> anyhow::Result<usize> {
    Ok(system.lictor(&["server", "sessions"])?["sessions"].as_array().map_or(0, Vec::len))
}

fn seats_are_found_by_host_name_and_counted(system: &System) -> anyhow::Result<()> {
    let first = system.application_in_background(&["sleep", "600"])?;
    let second = system.application_in_background(&["sleep", "600"])?;
    wait::until("two seats are taken", || Ok((sessions(system)? == 2).then_some(())))?;
    let third = system.application(&["true"])?;
    ensure!(third.code == 120, "one too many: {third:?}");

    // Stopped as an orchestrator stops it: the wrapper gives the seat back, and the next one starts.
    system.docker(&["stop", "--time", "20", &first])?;
    wait::until("its seat is free", || Ok((sessions(system)? == 1).then_some(())))?;
    let next = system.application(&["sh", "-c", "exit 7"])?;
    ensure!(next.code == 7, "the exit code of the program: {next:?}");
    system.docker(&["rm", "-f", &first])?;
    system.docker(&["stop", "--time", "20", &second])?;
    system.docker(&["rm", "-f", &second])?;
    Ok(())
}

fn the_state_survives_a_new_container(system: &System, license: &str) -> anyhow::Result<()> {
    let before = system.container("license-server")?;
    let holder = system.application_in_background(&["sleep", "600"])?;
    wait::until("a seat is taken", || Ok((sessions(system)? == 1).then_some(())))?;
    system.compose_ok(&["up", "-d", "--no-deps", "--force-recreate", "--timeout", "20", "license-server"])?;
    ensure!(system.container("license-server")? != before, "the container was not made anew");
    system.wait_until_healthy("license-server")?;
    ensure!(sessions(system)? == 1, "the holder lost its seat");
    ensure!(system.inspect(&holder, "{{.State.Running}}")? == "true", "the application stopped");
    ensure!(text(&system.lictor(&["license", "show", license])?, "state")? == "confirmed");
    let one_more = system.application(&["true"])?;
    ensure!(one_more.code == 0, "{one_more:?}");
    system.docker(&["rm", "-f", &holder])?;
    Ok(())
}

fn the_first_steps_work_as_written_with_keys_in_a_token(system: &System) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(root().join("deploy/README.md"))?;
    let mut reader = Reader::default();
    reader.follow(system, &page, "Keys in a PKCS#11 token")?;
    for service in SERVICES {
        system.wait_until_healthy(service)?;
    }
    let printed = reader.follow(system, &page, "First steps in it")?;
    ensure!(printed.contains("licensed"), "the application ran: {printed}");
    let generator = system.container("push-update-generator")?;
    let keys =
        system.docker(&["exec", &generator, "sh", "-c", "find /var/lib/lictor /var/lib/tokens -name '*.pem'"])?;
    ensure!(keys.output.trim().is_empty(), "no key lies in a file beside the service: {keys:?}");

    // The agent goes away with the token: the service says why it issues nothing, and what to do.
    system.compose_ok(&["stop", "--timeout", "5", "key-agent"])?;
    let told = wait::until("it is not ready", || {
        let health = system.docker(&["exec", &generator, "push-update-generator", "health"])?;
        Ok((health.code != 0).then_some(health.errors))
    })?;
    ensure!(told.contains("the key agent does not answer") && told.contains("next: check"), "{told}");
    let order = system.lictor(&["order", "create", "--customer", "Nova", "--item", "demo-package"])?;
    let (ticket, license) = ticket_of(&order)?;
    let refused = reader.run(system, &format!("docker-compose run --rm lictor activate {ticket}"));
    ensure!(refused.is_err(), "activated without a key: {refused:?}");
    system.compose_ok(&["start", "key-agent"])?;
    system.wait_until_healthy("push-update-generator")?;
    reader.run(system, &format!("docker-compose run --rm lictor activate {ticket}"))?;
    wait::until("the licence is confirmed", || {
        Ok((text(&system.lictor(&["license", "show", &license])?, "state")? == "confirmed").then_some(()))
    })
}
