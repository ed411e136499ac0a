//! A body that is read while it is sent.

use std::{
    io,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, ready},
};

use axum::body::{Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

const CHUNK_BYTES: usize = 64 * 1024;

pub(super) struct Stream {
    /// The mutex is never locked: it makes it `Sync`, which HTTP clients ask for.
    reader: Mutex<Pin<Box<dyn AsyncRead + Send>>>,
    /// Bytes that are still to come.
    left: u64,
    buffer: Vec<u8>,
}

impl Stream {
    pub(super) fn new(reader: impl AsyncRead + Send + 'static, length: u64) -> Self {
        Self {
            reader: Mutex::new(Box::pin(reader)),
            left: length,
            buffer: Vec::new(),
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.left
    }
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let size = usize::try_from(this.left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        this.buffer.resize(size, 0);
        let reader = this
            .reader
            .get_mut()
            .map_err(|_| io::Error::other("a reader panicked"))?;
        let mut buffer = ReadBuf::new(&mut this.buffer);
        ready!(reader.as_mut().poll_read(context, &mut buffer))?;
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        this.left -= read as u64;
        this.buffer.truncate(read);
        let chunk = std::mem::take(&mut this.buffer);
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
