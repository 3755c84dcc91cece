//! A program whose levels can be read only with a seat: they were sealed at build time with
//! `lictor content seal --keys product-201.keys levels.dat -o levels.sealed`, and are opened by the licence server.
//!
//! `cargo run -p lictor-sdk --example sealed -- vendor.lif levels.sealed`, with the server in `CODEMETER_HOST`. A real program
//! compiles both in with `include_bytes!`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use lictor_sdk::content::SealedContent;
use lictor_sdk::{Client, Plain, Request};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lif, levels] = arguments.as_slice() else {
        return Err("give a licence information file and a sealed file".into());
    };
    let client = Client::builder().trust_lif(&std::fs::read(lif)?).build()?;
    let levels = read_levels(&client, &std::fs::read(levels)?).await?;
    io::stdout().write_all(&levels)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes a seat of the product that the content was sealed for, opens the content, and gives the seat back. A program that
/// works on would keep the seat for as long as it does.
pub(crate) async fn read_levels(client: &Client, sealed: &[u8]) -> Result<Plain, Box<dyn std::error::Error>> {
    let content = SealedContent::read(sealed)?;
    let seat = client.acquire(Request::new(content.firm_code(), content.product_code())).await?;
    let levels = seat.open(&content).await;
    seat.release().await;
    Ok(levels?)
}
