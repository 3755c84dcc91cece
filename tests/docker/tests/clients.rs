//! Protected programs in images of every kind: with nothing else in them, on musl, on glibc.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use lictor_test_support::fleet::FIRM_CODE;
use lictor_test_support::programs::{self, Answer};
use lictor_test_support::vendor::EDITOR;
use lictor_tests_docker::site::{NETWORK, SERVER, Site, strip};

/// Ends with 7, and links the libraries of its image.
const PROGRAM: &str = "#include <stdio.h>\nint main(void) { puts(\"it ran\"); return 7; }\n";

/// An image and who compiles for its libraries.
struct Kind {
    name: &'static str,
    compiler: Option<&'static str>,
}

const KINDS: [Kind; 3] = [
    Kind { name: "empty", compiler: None },
    Kind { name: "musl", compiler: Some("musl-gcc") },
    Kind { name: "glibc", compiler: Some("gcc") },
];

#[test]
fn a_static_client_takes_its_seat_in_an_empty_a_musl_and_a_glibc_image() -> anyhow::Result<()> {
    let Some(site) = Site::prepare()? else { return Ok(()) };
    site.start_server("server", "state", SERVER, &["--network-alias", "license-server"])?;
    site.wait_until_up("server")?;
    site.at("state", &["server", "create-container", "--lif", &site.path("vendor.lif")])?;
    let taken = site.activate("state", "editor=1")?;
    ensure!(taken.code == 0, "{taken:?}");
    for kind in &KINDS {
        let image = image(&site, kind).with_context(|| format!("the image {}", kind.name))?;
        a_program_with_the_sdk_takes_a_seat(&site, &image).with_context(|| image.clone())?;
        if kind.compiler.is_some() {
            a_program_behind_lictor_run_runs_and_its_exit_code_is_told(&site, &image).with_context(|| image.clone())?;
        }
    }
    Ok(())
}

/// Makes an image with the static programs, and with a program of its own libraries.
fn image(site: &Site, kind: &Kind) -> anyhow::Result<String> {
    let folder = site.path(kind.name);
    let folder = Path::new(&folder);
    fs::create_dir_all(folder.join("bin"))?;
    strip(&programs::path("lictor")?, &folder.join("bin/lictor"))?;
    strip(&programs::path("examples/protected")?, &folder.join("bin/protected"))?;
    fs::copy(site.path("vendor.lif"), folder.join("vendor.lif"))?;
    if let Some(compiler) = kind.compiler {
        let source = site.path("program.c");
        fs::write(&source, PROGRAM)?;
        let program = folder.join("bin/program");
        let compiled = Answer::of(Command::new(compiler).arg("-o").arg(&program).arg(source))?;
        ensure!(compiled.code == 0, "{}", compiled.errors);
        for library in libraries(&program)? {
            let place = folder.join(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().context("it lies in a folder")?)?;
            fs::copy(&library, place)?;
        }
    }
    let tag = format!("client/{}:local", kind.name);
    site.image_of(folder, &tag)?;
    Ok(tag)
}

/// The loader of a program, and the C library when that is another file.
fn libraries(program: &Path) -> anyhow::Result<Vec<String>> {
    let headers = Answer::of(Command::new("readelf").arg("-lW").arg(program))?;
    let (_, rest) = headers.output.split_once("program interpreter: ").context("a dynamic program has a loader")?;
    let loader = rest.split(']').next().unwrap_or_default().to_owned();
    let c_library = Path::new("/lib/x86_64-linux-gnu/libc.so.6").display().to_string();
    Ok(if loader.contains("musl") { vec![loader] } else { vec![loader, c_library] })
}

fn run(site: &Site, image: &str, command: &[&str]) -> anyhow::Result<Answer> {
    let mut all = vec!["run", "--rm", "--network", NETWORK, "--read-only", "--user", "65532:65532"];
    all.extend([
        "--tmpfs",
        "/state:mode=1777",
        "-e",
        "CODEMETER_HOST=license-server",
        "-e",
        "LICTOR_TRUST=/vendor.lif",
    ]);
    all.extend(["-e", "LICTOR_STATE_DIR=/state", image]);
    all.extend(command);
    site.docker(&all)
}

fn a_program_with_the_sdk_takes_a_seat(site: &Site, image: &str) -> anyhow::Result<()> {
    let (firm, product) = (FIRM_CODE.to_string(), EDITOR.to_string());
    let answer = run(site, image, &["/bin/protected", "/vendor.lif", &firm, &product])?;
    ensure!(answer.code == 0 && answer.output.contains("seat ses_"), "{answer:?}");
    ensure!(site.sessions("state")?.is_empty(), "the seat is given back");
    Ok(())
}

fn a_program_behind_lictor_run_runs_and_its_exit_code_is_told(site: &Site, image: &str) -> anyhow::Result<()> {
    let (firm, product) = (FIRM_CODE.to_string(), EDITOR.to_string());
    let words = ["/bin/lictor", "run", "--firm-code", &firm, "--product-code", &product, "--", "/bin/program"];
    let answer = run(site, image, &words)?;
    ensure!(answer.code == 7 && answer.output.trim() == "it ran", "{answer:?}");
    let bare = run(site, image, &["/bin/program"])?;
    ensure!(bare.code == 7, "the image has what the program needs: {bare:?}");
    Ok(())
}
