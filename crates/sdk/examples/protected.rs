//! A protected program in its smallest form: takes a seat, works, stops when the seat is gone, gives it back.
//!
//! `cargo run -p lictor-sdk --example protected -- vendor.lif FIRM_CODE PRODUCT_CODE`, with the server in `CODEMETER_HOST`.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use lictor_sdk::{AcquireError, Client, Request};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lif, firm_code, product_code] = arguments.as_slice() else {
        return Err("give a licence information file, a firm code and a product code".into());
    };
    let client = Client::builder().trust_lif(&std::fs::read(lif)?).build()?;
    let seat = match client.acquire(Request::new(firm_code.parse()?, product_code.parse()?)).await {
        Ok(seat) => seat,
        Err(AcquireError::Refused(refusal)) => {
            for reason in &refusal.reasons {
                writeln!(io::stderr(), "{} ({}) {}", reason.reason, reason.code, reason.instead)?;
            }
            return Ok(ExitCode::from(3));
        }
        Err(error) => return Err(error.into()),
    };
    writeln!(io::stdout(), "seat {} from {}", seat.session_id(), seat.serial())?;
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(5)) => {
            seat.release().await;
            Ok(ExitCode::SUCCESS)
        }
        reason = seat.ended() => Err(format!("the licence is gone: {reason:?}").into()),
    }
}
