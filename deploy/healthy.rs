//! `healthy ADDRESS` ends with 0 when the bridge says there that it is alive: the health check of an image without shell
//! and curl.
//!
//! Not whether it is ready: it is not while a peer is away, and starting it anew helps nobody then.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

fn status(address: &str) -> std::io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /actuator/health/liveness HTTP/1.1\r\nHost: bridge\r\nConnection: close\r\n\r\n")?;
    let mut line = *b"HTTP/1.1 000";
    stream.read_exact(&mut line)?;
    Ok(line)
}

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_default();
    match status(&address) {
        Ok(line) if line == *b"HTTP/1.1 200" => ExitCode::SUCCESS,
        Ok(line) => {
            println!("{} at {address}", String::from_utf8_lossy(&line));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("no answer at {address}: {error}");
            ExitCode::FAILURE
        }
    }
}
