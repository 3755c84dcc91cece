//! The `health` command: asks this program's own `/ready`, for images that hold no shell and no curl.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

const ASK_TIME: Duration = Duration::from_secs(4);
/// Most bytes of the answer that are read.
const ANSWER_BYTES: u64 = 64 * 1024;

/// `Ok` with the report when the service is ready, else the reason.
pub(crate) fn ask(listen: SocketAddr) -> Result<String, String> {
    let address = reachable(listen);
    let unreachable = |error: std::io::Error| format!("no answer from http://{address}/ready: {error}");
    let mut stream = TcpStream::connect_timeout(&address, ASK_TIME).map_err(unreachable)?;
    stream.set_read_timeout(Some(ASK_TIME)).map_err(unreachable)?;
    stream.set_write_timeout(Some(ASK_TIME)).map_err(unreachable)?;
    stream
        .write_all(format!("GET /ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
        .map_err(unreachable)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).map_err(unreachable)?;
    let answer = String::from_utf8_lossy(&answer);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim().to_owned();
    if answer.starts_with("HTTP/1.1 200 ") { Ok(body) } else { Err(format!("not ready: {body}")) }
}

/// "All addresses" is where a listener listens, not where it can be called.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
