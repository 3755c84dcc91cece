//! Containers of kind `volume` on a real engine: what they survive, and where they refuse.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use lictor_test_support::programs::Answer;
use lictor_test_support::vendor::EDITOR;
use lictor_test_support::wait;
use lictor_tests_docker::site::{SERVER, Site};

#[test]
fn a_container_in_a_volume_is_bound_to_it() -> anyhow::Result<()> {
    let Some(mut site) = Site::prepare()? else { return Ok(()) };
    no_socket_refuses_volume_only(&site)?;
    fs::write(site.path("rules.toml"), "")?;
    let rules = format!("{}:/rules.toml:ro", site.path("rules.toml"));
    let with_rules = ["-v", &rules, "-e", "LICTOR_RULES_FILE=/rules.toml"];
    site.start_bound("first", "state", SERVER, &[&ALIAS[..], &with_rules].concat())?;
    site.wait_until_up("first")?;
    a_license_without_volume_is_refused_and_one_with_it_taken(&site)?;
    let serial = site.serial("state")?;
    a_job_is_known_by_its_container_and_its_death_frees_the_seat_at_once(&site)?;
    rules_go_by_the_labels_that_the_engine_tells(&site)?;
    the_server_cannot_reach_the_engine_and_its_attestor_no_network(&site)?;
    a_second_server_on_the_volume_is_refused_and_told_of_the_first(&site)?;
    a_copied_volume_is_refused_by_its_traits(&site)?;
    a_foreign_hostname_file_gains_nothing(&site)?;
    a_folder_of_the_host_is_no_volume(&site)?;
    a_newer_image_and_a_new_container_keep_it(&site, &serial)?;
    a_reboot_keeps_it(&mut site, &serial)?;
    a_container_without_the_socket_goes_on_for_now(&site, &serial)?;
    an_honest_restore_into_the_same_volume_is_taken(&site, &serial)?;
    a_volume_made_anew_under_the_old_name_is_refused(&site)
}

fn no_socket_refuses_volume_only(site: &Site) -> anyhow::Result<()> {
    site.start_server("deaf", "empty", SERVER, &["-e", "LICTOR_BINDING=volume"])?;
    let words = site.last_words("deaf")?;
    ensure!(words.contains("cannot be made without the container engine"), "{words}");
    ensure!(!site.volume("empty")?.join("keys").exists(), "something was made");
    site.start_server("folder", "empty", SERVER, &[])?;
    site.wait_until_up("folder")?;
    site.remove("folder")?;
    // What it is now, it stays.
    site.start_bound("converted", "empty", SERVER, &[])?;
    let words = site.last_words("converted")?;
    ensure!(words.contains("never converted") && words.contains("LICTOR_BINDING=folder"), "{words}");
    Ok(())
}

fn a_license_without_volume_is_refused_and_one_with_it_taken(site: &Site) -> anyhow::Result<()> {
    let lif = site.path("vendor.lif");
    let made = site.at("state", &["server", "create-container", "--lif", &lif])?;
    ensure!(made["kind"] == "volume", "{made}");
    let refused = site.activate("state", "machine-only=1")?;
    ensure!(refused.code != 0, "{refused:?}");
    let said = format!("{}{}", refused.output, refused.errors);
    ensure!(said.contains("machine") && said.contains("volume"), "it says why: {said}");
    let taken = site.activate("state", "editor=1")?;
    ensure!(taken.code == 0, "{taken:?}");
    Ok(())
}

fn a_job_is_known_by_its_container_and_its_death_frees_the_seat_at_once(site: &Site) -> anyhow::Result<()> {
    site.start_job("blue-job", "license-server", EDITOR)?;
    wait::until("the job has its seat", || Ok((site.sessions("state")?.len() == 1).then_some(())))?;
    let session = site.sessions("state")?.remove(0);
    ensure!(session["container"]["name"] == "blue-job", "{session}");
    ensure!(session["container"]["image"] == "lictor/job:local", "{session}");
    let id = site.ok(&["inspect", "--format", "{{.Id}}", "blue-job"])?;
    ensure!(session["container"]["id"] == id.as_str(), "{session}");
    site.ok(&["kill", "blue-job"])?;
    let killed = Instant::now();
    wait::until("its seat is free", || Ok(site.sessions("state")?.is_empty().then_some(())))?;
    // The reconnect grace, which holds without the engine's word, is 30 s and a tenth.
    let took = killed.elapsed();
    eprintln!("a killed container's seat was free after {took:?}");
    ensure!(took < Duration::from_secs(15), "{took:?}");
    site.ok(&["rm", "blue-job"])?;
    Ok(())
}

/// Rules that let only jobs of one team have the product; so many of them that one can see which are in force.
fn rules_for(team: &str, count: usize) -> String {
    let rule =
        |number| format!("[[rule]]\nname = \"{number}\"\neffect = \"allow\"\nwhen.label = {{ team = \"{team}\" }}\n\n");
    format!("default = \"deny\"\n\n{}", (0..count).map(rule).collect::<String>())
}

fn rules_go_by_the_labels_that_the_engine_tells(site: &Site) -> anyhow::Result<()> {
    let in_force = |count: usize| {
        wait::until("the rules are in force", || {
            let shown = site.at("state", &["server", "rules", "show"])?;
            ensure!(shown["problem"] == "", "{shown}");
            Ok((shown["rules"] == count).then_some(()))
        })
    };
    for (team, count, allowed) in [("red", 1, false), ("blue", 2, true)] {
        fs::write(site.path("rules.toml"), rules_for(team, count))?;
        in_force(count)?;
        site.start_job("labelled", "license-server", EDITOR)?;
        if allowed {
            wait::until("the job has its seat", || Ok((site.sessions("state")?.len() == 1).then_some(())))?;
            site.ok(&["kill", "labelled"])?;
            wait::until("its seat is free", || Ok(site.sessions("state")?.is_empty().then_some(())))?;
        } else {
            let code = site.ok(&["wait", "labelled"])?;
            ensure!(code == "120", "the job is refused: {code}");
        }
        site.ok(&["rm", "labelled"])?;
    }
    // What happened stands in the log, and its verb tells of it.
    // The verbs come from the server's own image.
    let words = ["exec", "first", "/usr/bin/lictor", "server", "log", "--json"];
    let log = site.ok(&[&words[..], &["--server", "unix:/var/lib/lictor/lictor.sock"]].concat())?;
    for word in ["seat.denied", "seat.granted", "rules.loaded"] {
        ensure!(log.contains(word), "{word} in {log}");
    }
    fs::write(site.path("rules.toml"), "")?;
    in_force(0)
}

fn the_server_cannot_reach_the_engine_and_its_attestor_no_network(site: &Site) -> anyhow::Result<()> {
    let server = site.ok(&["inspect", "--format", "{{.State.Pid}}", "first"])?;
    // Any of its threads may have started it.
    let mut children = String::new();
    for task in fs::read_dir(format!("/proc/{server}/task"))? {
        children.push_str(&fs::read_to_string(task?.path().join("children")).unwrap_or_default());
    }
    let attestor = children.split_whitespace().next().unwrap_or_default().to_owned();
    ensure!(!attestor.is_empty(), "the server has no attestor");
    for process in [&server, &attestor] {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"] {
            ensure!(status.contains(line), "{process} has not {line}: {status}");
        }
    }
    let sockets = |process: &str, table: &str| -> anyhow::Result<usize> {
        let known = fs::read_to_string(format!("/proc/{process}/net/{table}"))?;
        let mut found = 0;
        for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
            let target = fs::read_link(entry?.path()).map(|path| path.display().to_string()).unwrap_or_default();
            if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                found += known.split_whitespace().filter(|field| *field == inode).count();
            }
        }
        Ok(found)
    };
    ensure!(sockets(&attestor, "tcp")? + sockets(&attestor, "tcp6")? == 0, "the attestor has a network socket");
    ensure!(sockets(&server, "tcp")? + sockets(&server, "tcp6")? > 0, "the server listens");
    Ok(())
}

fn a_second_server_on_the_volume_is_refused_and_told_of_the_first(site: &Site) -> anyhow::Result<()> {
    site.start_bound("second", "state", SERVER, &[])?;
    let words = site.last_words("second")?;
    let host = site.ok(&["inspect", "--format", "{{.Config.Hostname}}", "first"])?;
    ensure!(words.contains("in use by") && words.contains(&host), "it names {host}: {words}");
    ensure!(site.sessions("state")?.is_empty(), "the first goes on");
    Ok(())
}

/// Copies all of a volume into another one.
fn copy(site: &Site, from: &str, to: &str) -> anyhow::Result<()> {
    site.ok(&["volume", "create", to])?;
    run(Command::new("cp").arg("-a").arg(site.volume(from)?.join(".")).arg(site.volume(to)?))?;
    // `cp -a` gives the folder the owner of what it copies.
    let _ = fs::remove_file(site.volume(to)?.join("lictor.sock"));
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let answer = Answer::of(command)?;
    ensure!(answer.code == 0, "{command:?}: {}", answer.errors);
    Ok(())
}

fn refused_by_traits(site: &Site, name: &str, volume: &str, more: &[&str]) -> anyhow::Result<()> {
    site.start_bound(name, volume, SERVER, more)?;
    let words = site.last_words(name)?;
    for said in ["not the surroundings it was sealed to", "volume root", "key file", "lictor replace"] {
        ensure!(words.contains(said), "{words}");
    }
    Ok(())
}

fn a_copied_volume_is_refused_by_its_traits(site: &Site) -> anyhow::Result<()> {
    copy(site, "state", "copied")?;
    refused_by_traits(site, "copy", "copied", &[])
}

fn a_foreign_hostname_file_gains_nothing(site: &Site) -> anyhow::Result<()> {
    let victim = site.ok(&["inspect", "--format", "{{.Id}} {{.HostnamePath}} {{.Config.Hostname}}", "first"])?;
    let [id, path, hostname] = victim.split(' ').collect::<Vec<_>>()[..] else { anyhow::bail!("{victim}") };
    let mount = format!("{path}:/etc/hostname:ro");
    ensure!(path.contains(id), "the mount table of the container will name the victim: {path}");
    refused_by_traits(site, "impostor", "copied", &["-v", &mount, "--hostname", hostname])
}

fn a_folder_of_the_host_is_no_volume(site: &Site) -> anyhow::Result<()> {
    let folder = site.path("bind");
    fs::create_dir(&folder)?;
    std::os::unix::fs::chown(&folder, Some(65_532), Some(65_532))?;
    site.start_bound("bind", &folder, SERVER, &[])?;
    let words = site.last_words("bind")?;
    ensure!(words.contains("mounted as bind, not as a named volume"), "{words}");
    let bound = site.bound()?;
    let mut tmpfs: Vec<&str> = vec!["run", "-d", "--name", "tmpfs", "--tmpfs", "/var/lib/lictor:uid=65532,mode=0700"];
    tmpfs.extend(bound.iter().map(String::as_str));
    tmpfs.push(SERVER);
    site.ok(&tmpfs)?;
    let words = site.last_words("tmpfs")?;
    ensure!(words.contains("lies on tmpfs"), "{words}");
    Ok(())
}

fn keeps(site: &Site, name: &str, serial: &str) -> anyhow::Result<()> {
    site.wait_until_up(name)?;
    ensure!(site.serial("state")? == serial, "another container");
    let job = format!("job-of-{name}");
    site.start_job(&job, "license-server", EDITOR)?;
    wait::until("a job has a seat", || Ok((site.sessions("state")?.len() == 1).then_some(())))?;
    site.ok(&["kill", &job])?;
    site.ok(&["rm", &job])?;
    Ok(())
}

const ALIAS: [&str; 2] = ["--network-alias", "license-server"];

fn a_newer_image_and_a_new_container_keep_it(site: &Site, serial: &str) -> anyhow::Result<()> {
    site.remove("first")?;
    site.start_bound("upgraded", "state", "lictor/license-server:newer", &ALIAS)?;
    keeps(site, "upgraded", serial)?;
    // As a power cut ends it, and under another host name.
    site.ok(&["kill", "upgraded"])?;
    site.ok(&["rm", "upgraded"])?;
    site.start_bound("anew", "state", SERVER, &[&ALIAS[..], &["--hostname", "elsewhere"]].concat())?;
    keeps(site, "anew", serial)?;
    site.remove("anew")
}

fn a_reboot_keeps_it(site: &mut Site, serial: &str) -> anyhow::Result<()> {
    site.engine().restart()?;
    site.start_bound("rebooted", "state", SERVER, &ALIAS)?;
    keeps(site, "rebooted", serial)?;
    site.remove("rebooted")
}

fn a_container_without_the_socket_goes_on_for_now(site: &Site, serial: &str) -> anyhow::Result<()> {
    let more = [&ALIAS[..], &["-e", "LICTOR_BINDING=volume"]].concat();
    site.start_server("without", "state", SERVER, &more)?;
    keeps(site, "without", serial)?;
    let said = site.docker(&["exec", "without", "/usr/bin/license-server", "health"])?;
    ensure!(said.code == 0 && said.output.contains("no seats will be given from"), "{said:?}");
    site.remove("without")
}

fn an_honest_restore_into_the_same_volume_is_taken(site: &Site, serial: &str) -> anyhow::Result<()> {
    let (volume, backup) = (site.volume("state")?, site.path("backup.tar"));
    run(Command::new("tar").arg("-C").arg(&volume).args(["-cf", &backup, "."]))?;
    for entry in fs::read_dir(&volume)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    run(Command::new("tar").arg("-C").arg(&volume).args(["-xf", &backup]))?;
    site.start_bound("restored", "state", SERVER, &ALIAS)?;
    keeps(site, "restored", serial)?;
    site.remove("restored")
}

fn a_volume_made_anew_under_the_old_name_is_refused(site: &Site) -> anyhow::Result<()> {
    site.ok(&["volume", "rm", "state"])?;
    site.ok(&["volume", "create", "state"])?;
    run(Command::new("tar").arg("-C").arg(site.volume("state")?).args(["-xf", &site.path("backup.tar")]))?;
    refused_by_traits(site, "recreated", "state", &[])
}
