//! A customer's host with a Docker engine of its own, and a vendor beside it: licence servers whose container is bound to a
//! named volume.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use lictor_test_support::docker::Engine;
use lictor_test_support::fleet::FIRM_CODE;
use lictor_test_support::programs::{self, Answer};
use lictor_test_support::vendor::{catalogue, text, ticket_of};
use lictor_test_support::wait;
use serde_json::Value;
use tempfile::TempDir;

use crate::root;

/// The image of the licence server that tests start with.
pub const SERVER: &str = "lictor/license-server:local";
const STATE: &str = "/var/lib/lictor";
/// The network that servers and applications share.
pub const NETWORK: &str = "licenses";

/// Engine and vendor; all of it is gone when dropped.
pub struct Site {
    engine: Engine,
    vendor: Child,
    place: TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(all) = self.docker(&["ps", "-aq"]) {
            let ids: Vec<&str> = all.output.split_whitespace().collect();
            if !ids.is_empty() {
                let _ = self.docker(&[&["rm", "-f"], &ids[..]].concat());
            }
        }
        let _ = self.vendor.kill();
        let _ = self.vendor.wait();
    }
}

impl Site {
    /// Engine, images, vendor; `None`, said loudly, when there can be no engine.
    ///
    /// # Errors
    /// An image cannot be made, or the vendor does not start.
    pub fn prepare() -> anyhow::Result<Option<Self>> {
        let engine = match Engine::start_private() {
            Ok(engine) => engine,
            Err(reason) => {
                // Past the test harness, which keeps what a passing test prints to itself.
                writeln!(std::io::stderr(), "SKIPPED: the tests of volumes did not run: {reason:#}")?;
                return Ok(None);
            }
        };
        let place = tempfile::Builder::new().prefix("lictor-site-").tempdir()?;
        let mut vendor = Command::new(programs::path("lictor")?)
            .args(["up", "--port-base", "0", "--until-stdin-ends", "--json", "--data"])
            .arg(place.path().join("vendor"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = vendor.stdout.take().context("it was asked for")?;
        let site = Self { engine, vendor, place };
        BufReader::new(output).read_line(&mut String::new())?;
        site.make_images()?;
        site.ok(&["network", "create", NETWORK])?;
        let firm = FIRM_CODE.to_string();
        site.lictor(&["vendor", "init", "--firm-code", &firm, "--name", "Example"])?;
        let lif = site.path("vendor.lif");
        site.lictor(&["vendor", "lif", "--binding", "volume", "--binding", "folder", "-o", &lif])?;
        fs::write(site.path("catalogue.yaml"), catalogue())?;
        site.lictor(&["catalogue", "apply", &site.path("catalogue.yaml")])?;
        Ok(Some(site))
    }

    /// The licence server as it is shipped, and `lictor` alone as an application: no shell, no base, as small as can be.
    fn make_images(&self) -> anyhow::Result<()> {
        let mut shipped = self.engine.command(root().join("deploy/build-images.sh"));
        shipped.args(["local", "license-server"]).env("LICTOR_BIN_DIR", programs::folder()?);
        let made = Answer::of(&mut shipped)?;
        ensure!(made.code == 0, "{}{}", made.output, made.errors);
        let context = self.place.path().join("context");
        fs::create_dir_all(&context)?;
        for program in ["license-server", "lictor"] {
            strip(&programs::path(program)?, &context.join(program))?;
        }
        fs::write(context.join("application"), APPLICATION)?;
        fs::write(context.join("newer"), "FROM lictor/license-server:local\nLABEL version=newer\n")?;
        self.build(&context, "lictor/license-server:newer", &context.join("newer"))?;
        self.build(&context, "lictor/job:local", &context.join("application"))
    }

    /// An image of a folder and nothing else.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn image_of(&self, folder: &Path, tag: &str) -> anyhow::Result<()> {
        let recipe = self.place.path().join("folder.Dockerfile");
        fs::write(&recipe, "FROM scratch\nCOPY . /\n")?;
        self.build(folder, tag, &recipe)
    }

    fn build(&self, context: &Path, tag: &str, recipe: &Path) -> anyhow::Result<()> {
        let mut command = self.engine.command("docker");
        command.env("DOCKER_BUILDKIT", "0").args(["build", "--quiet", "--tag", tag, "--file"]).arg(recipe).arg(context);
        let built = Answer::of(&mut command)?;
        ensure!(built.code == 0, "{}{}", built.output, built.errors);
        Ok(())
    }

    /// A path in the site's own folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }

    /// The engine.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// A program that talks to the engine, such as `docker-compose`.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        self.engine.command(name)
    }

    /// `docker …`
    ///
    /// # Errors
    /// It does not start.
    pub fn docker(&self, arguments: &[&str]) -> anyhow::Result<Answer> {
        Answer::of(self.engine.command("docker").args(arguments))
    }

    /// `docker …` that has to succeed; gives what it says.
    ///
    /// # Errors
    /// It failed.
    pub fn ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let answer = self.docker(arguments)?;
        ensure!(answer.code == 0, "docker {arguments:?}: {}{}", answer.output, answer.errors);
        Ok(answer.output.trim().to_owned())
    }

    /// Where a volume lies on the host.
    ///
    /// # Errors
    /// The engine is not ours.
    pub fn volume(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.engine.folder()?.join("data/volumes").join(name).join("_data"))
    }

    /// A licence server in a container on a volume, with more arguments for `docker run`; it may end at once.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_server(&self, name: &str, volume: &str, image: &str, more: &[&str]) -> anyhow::Result<()> {
        let mount = format!("{volume}:{STATE}");
        let mut arguments = vec!["run", "-d", "--name", name, "--network", NETWORK, "-v", &mount, "--read-only"];
        arguments.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        arguments.extend(more);
        arguments.push(image);
        self.ok(&arguments).map(drop)
    }

    /// What a server needs to be bound to its volume.
    ///
    /// # Errors
    /// The engine is not ours.
    pub fn bound(&self) -> anyhow::Result<Vec<String>> {
        let socket = self.engine.socket()?;
        let group = fs::metadata(&socket)?.gid().to_string();
        let mount = format!("{}:/var/run/docker.sock", socket.display());
        let words = ["-e", "LICTOR_BINDING=volume", "-v", &mount, "--group-add", &group];
        Ok(words.map(str::to_owned).to_vec())
    }

    /// As [`Site::start_server`], bound to its volume.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_bound(&self, name: &str, volume: &str, image: &str, more: &[&str]) -> anyhow::Result<()> {
        let bound = self.bound()?;
        let all: Vec<&str> = bound.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.start_server(name, volume, image, &all)
    }

    /// Waits until a server answers on its Unix socket.
    ///
    /// # Errors
    /// It does not.
    pub fn wait_until_up(&self, name: &str) -> anyhow::Result<()> {
        wait::until(&format!("{name} is up"), || {
            let logs = self.logs(name)?;
            ensure!(self.ok(&["inspect", "--format", "{{.State.Running}}", name])? == "true", "it ended: {logs}");
            Ok(logs.contains("licence server is up").then_some(()))
        })
    }

    /// Waits until a server has ended, and gives its last words.
    ///
    /// # Errors
    /// It goes on.
    pub fn last_words(&self, name: &str) -> anyhow::Result<String> {
        wait::until(&format!("{name} has ended"), || {
            Ok((self.ok(&["inspect", "--format", "{{.State.Running}}", name])? == "false").then_some(()))
        })?;
        let words = self.logs(name)?;
        self.remove(name)?;
        Ok(words)
    }

    fn logs(&self, name: &str) -> anyhow::Result<String> {
        let answer = self.docker(&["logs", name])?;
        Ok(format!("{}{}", answer.output, answer.errors))
    }

    /// Stops and removes a container, as an orchestrator does.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        self.ok(&["stop", "--time", "20", name])?;
        self.ok(&["rm", name]).map(drop)
    }

    /// `lictor … --json` on the vendor's machine.
    ///
    /// # Errors
    /// It failed.
    pub fn lictor(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        self.lictor_answer(arguments)?.json().with_context(|| format!("lictor {}", arguments.join(" ")))
    }

    /// The same, whatever comes of it.
    ///
    /// # Errors
    /// It does not start.
    pub fn lictor_answer(&self, arguments: &[&str]) -> anyhow::Result<Answer> {
        self.answer("lictor", arguments)
    }

    fn answer(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Answer> {
        let mut command = Command::new(programs::path(program)?);
        command.env("LICTOR_CONFIG", self.place.path().join("vendor/client.toml"));
        command.env("LICTOR_FIRM_CODE", FIRM_CODE.to_string()).current_dir(self.place.path());
        Answer::of(command.args(arguments).arg("--json"))
    }

    /// `--server` for the server on a volume.
    ///
    /// # Errors
    /// The engine is not ours.
    pub fn server_of(&self, volume: &str) -> anyhow::Result<String> {
        Ok(format!("unix:{}", self.volume(volume)?.join("lictor.sock").display()))
    }

    /// A customer's verb to the server on a volume, by the licence server's own program.
    ///
    /// # Errors
    /// It failed.
    pub fn at(&self, volume: &str, arguments: &[&str]) -> anyhow::Result<Value> {
        let server = self.server_of(volume)?;
        let answer = self.answer("license-server", &[arguments, &["--server", &server]].concat())?;
        answer.json().with_context(|| format!("lictor {}", arguments.join(" ")))
    }

    /// Sells an item and activates it at the server on a volume.
    ///
    /// # Errors
    /// A step failed.
    pub fn activate(&self, volume: &str, item: &str) -> anyhow::Result<Answer> {
        let order = self.lictor(&["order", "create", "--customer", "Nova", "--item", item])?;
        let (ticket, _) = ticket_of(&order)?;
        let server = self.server_of(volume)?;
        self.answer("license-server", &["activate", &ticket, "--server", &server])
    }

    /// Serial of the container on a volume.
    ///
    /// # Errors
    /// There is none.
    pub fn serial(&self, volume: &str) -> anyhow::Result<String> {
        text(&self.at(volume, &["server", "list"])?["containers"][0], "serial")
    }

    /// The sessions of the server on a volume.
    ///
    /// # Errors
    /// It does not answer.
    pub fn sessions(&self, volume: &str) -> anyhow::Result<Vec<Value>> {
        Ok(self.at(volume, &["server", "sessions"])?["sessions"].as_array().cloned().unwrap_or_default())
    }

    /// A job that holds a seat of a product until it is killed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_job(&self, name: &str, server: &str, product: u32) -> anyhow::Result<()> {
        let lif = format!("{}:/vendor.lif:ro", self.path("vendor.lif"));
        let host = format!("CODEMETER_HOST={server}");
        let (firm, product) = (FIRM_CODE.to_string(), product.to_string());
        let mut all = vec!["run", "-d", "--name", name, "--label", "team=blue", "--network", NETWORK, "-v", &lif];
        all.extend([
            "-e",
            &host,
            "-e",
            "LICTOR_TRUST=/vendor.lif",
            "-e",
            "LICTOR_STATE_DIR=/state",
            "lictor/job:local",
        ]);
        // The image holds no other program that goes on for ever.
        all.extend(["run", "--firm-code", &firm, "--product-code", &product, "--", "/usr/bin/license-server"]);
        self.ok(&all).map(drop)
    }
}

/// Copies a program without what only debuggers read.
///
/// # Errors
/// It cannot be read.
pub fn strip(program: &Path, to: &Path) -> anyhow::Result<()> {
    let stripped = Answer::of(Command::new("strip").arg("-o").arg(to).arg(program))?;
    ensure!(stripped.code == 0, "{}", stripped.errors);
    Ok(())
}

const APPLICATION: &str = "\
FROM scratch
COPY lictor /usr/bin/lictor
COPY license-server /usr/bin/license-server
ENTRYPOINT [\"/usr/bin/lictor\"]
";
