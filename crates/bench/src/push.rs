//! The homeserver's pushing side: one kept-alive connection, one transaction at a time, no Nagle.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// No answer may take longer, or the run has failed.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Pusher {
    stream: TcpStream,
    address: SocketAddr,
    hs_token: String,
    txn: u64,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Pusher {
    pub(crate) fn connect(address: SocketAddr, hs_token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            address,
            hs_token: hs_token.to_owned(),
            txn: 0,
            request: Vec::new(),
            answer: vec![0; 64 * 1024],
        })
    }

    /// Pushes a transaction under the next id and waits for its 200. Returns how long that took.
    pub(crate) fn push(&mut self, body: &[u8]) -> Result<Duration> {
        self.txn += 1;
        let txn = self.txn.to_string();
        let (status, took) = self.exchange(&txn, body)?;
        ensure!(
            status == 200,
            "transaction {txn} was answered with {status}"
        );
        Ok(took)
    }

    /// Pushes a transaction under an id; its status and how long it took.
    pub(crate) fn exchange(&mut self, txn: &str, body: &[u8]) -> Result<(u16, Duration)> {
        self.request.clear();
        // The headers are Synapse's.
        write!(
            self.request,
            "PUT /_matrix/app/v1/transactions/{txn} HTTP/1.1\r\n\
             Content-Length: {}\r\nContent-Type: application/json\r\n\
             User-Agent: Synapse/1.163.2\r\nAccept: application/json\r\n\
             Authorization: Bearer {}\r\nAccept-Encoding: gzip\r\nHost: {}\r\n\r\n",
            body.len(),
            self.hs_token,
            self.address
        )?;
        self.request.extend_from_slice(body);
        let began = Instant::now();
        self.stream.write_all(&self.request)?;
        let status = read_answer(&mut self.stream, &mut self.answer)?;
        Ok((status, began.elapsed()))
    }
}

/// Reads one answer to its end; its status.
fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<u16> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        ensure!(read > 0, "the connection was closed before the answer");
        filled += read;
        let Some(head) = find(&buffer[..filled], b"\r\n\r\n") else {
            ensure!(filled < buffer.len(), "the answer's head does not end");
            continue;
        };
        let text = std::str::from_utf8(&buffer[..head])?;
        let status = text.split(' ').nth(1).context("no status")?.parse()?;
        let length = content_length(text).unwrap_or(0);
        let mut left = (head + 4 + length).saturating_sub(filled);
        while left > 0 {
            let room = buffer.len().min(left);
            let read = stream.read(&mut buffer[..room])?;
            ensure!(read > 0, "the connection was closed within the answer");
            left -= read;
        }
        return Ok(status);
    }
}

pub(crate) fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })
}

pub(crate) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// `GET`, on a connection of its own; the answer's body.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{path} was refused");
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    Ok(body.to_owned())
}
