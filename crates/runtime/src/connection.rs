//! An accepted connection: its bytes, what is known about its other end, and how long it may stay silent at first.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::Sleep,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Longest time from the connection, or from the end of its TLS handshake, to the opening text of HTTP/2.
pub const GREETING_TIME: Duration = Duration::from_secs(10);
/// Length of the text that every HTTP/2 connection opens with.
const GREETING_BYTES: usize = 24;

/// What carries the bytes.
#[derive(Debug)]
pub enum Stream {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS over TCP, after its handshake.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

/// A connection that can be served over gRPC. `I` is in the extensions of every request on it, `K` is dropped with it, such
/// as its place among those that may be open at once.
#[derive(Debug)]
pub struct Connection<I, K> {
    stream: Stream,
    info: I,
    greeting: Option<Greeting>,
    gathering: Gathering,
    _kept: K,
}

/// Whoever connects has to begin to speak: HTTP/2 opens with a fixed text, and a connection without it is cut.
#[derive(Debug)]
struct Greeting {
    missing: usize,
    until: Pin<Box<Sleep>>,
}

impl<I, K> Connection<I, K> {
    /// A connection whose other end has [`GREETING_TIME`] from now on to open it. Needs a tokio runtime.
    #[must_use]
    pub fn new(stream: Stream, info: I, kept: K) -> Self {
        Self::greeted_within(GREETING_TIME, stream, info, kept)
    }

    fn greeted_within(time: Duration, stream: Stream, info: I, kept: K) -> Self {
        let greeting = Greeting { missing: GREETING_BYTES, until: Box::pin(tokio::time::sleep(time)) };
        Self { stream, info, greeting: Some(greeting), gathering: Gathering::default(), _kept: kept }
    }
}

/// Lets one round of the runtime pass before something is written: answers to calls that came together are ready in the same
/// round, and then leave in one piece instead of one each. Nobody waits for a timer, and where it does not help it is only
/// tried now and then: who is alone waits for nobody.
#[derive(Debug, Default)]
struct Gathering {
    /// Bytes that there were before the round; none outside of one.
    before: Option<usize>,
    done: bool,
    /// Rises when others came along, falls when nobody did.
    luck: u8,
    /// Writes without a try.
    untried: u8,
}

impl Gathering {
    const MOST_LUCK: u8 = 4;
    const TRY_AFTER: u8 = 8;

    fn poll(&mut self, length: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        if let Some(before) = self.before.take() {
            self.luck = if length > before { Self::MOST_LUCK } else { self.luck.saturating_sub(1) };
        } else if self.luck > 0 || self.untried >= Self::TRY_AFTER {
            (self.before, self.untried) = (Some(length), 0);
            // A task that wakes itself goes behind the others.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        } else {
            self.untried += 1;
        }
        self.done = true;
        Poll::Ready(())
    }
}

impl<I: Clone + Send + Sync + 'static, K> Connected for Connection<I, K> {
    type ConnectInfo = I;

    fn connect_info(&self) -> I {
        self.info.clone()
    }
}

impl<I: Unpin, K: Unpin> AsyncRead for Connection<I, K> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if let Some(greeting) = &mut self.greeting {
            let came = buf.filled().len() - before;
            greeting.missing = greeting.missing.saturating_sub(came);
            if greeting.missing == 0 {
                self.greeting = None;
            } else if greeting.until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<I: Unpin, K: Unpin> AsyncWrite for Connection<I, K> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.gathering.poll(buf.len(), cx));
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.gathering.poll(bufs.iter().map(|buf| buf.len()).sum(), cx));
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            // Many small pieces would be sealed one by one: what is copied together first is sealed as one.
            Stream::Tls(_) => false,
            Stream::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gathering.done = false;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_ready_in_the_same_round_is_written_as_one_and_who_is_alone_does_not_wait() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut gathering = Gathering::default();
        let mut write = |before: usize, after: usize| {
            let waited = gathering.poll(before, &mut cx).is_pending();
            assert!(!waited || gathering.poll(after, &mut cx).is_ready(), "one round, not more");
            assert!(gathering.poll(after, &mut cx).is_ready(), "the rest of the same piece");
            gathering.done = false;
            waited
        };
        let alone: Vec<bool> = (0..20).map(|_| write(10, 10)).collect();
        assert_eq!(alone.iter().filter(|waited| **waited).count(), 2, "now and then: {alone:?}");
        let together: Vec<bool> = (0..20).map(|_| write(10, 20)).collect();
        assert!(together[8..].iter().all(|waited| *waited), "{together:?}");
        let alone: Vec<bool> = (0..20).map(|_| write(10, 10)).collect();
        assert!(alone[..4].iter().all(|waited| *waited) && !alone[5], "{alone:?}");
    }

    #[tokio::test]
    async fn a_connection_that_never_opens_is_cut_and_one_that_does_may_be_silent() {
        let opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(opening.len(), GREETING_BYTES);
        let time = Duration::from_millis(50);
        for said in [0, 1, GREETING_BYTES - 1, GREETING_BYTES] {
            let (mut caller, called) = UnixStream::pair().expect("a pair");
            let mut connection = Connection::greeted_within(time, Stream::Unix(called), (), ());
            caller.write_all(&opening[..said]).await.expect("sent");
            let mut heard = vec![0; said];
            connection.read_exact(&mut heard).await.expect("what was said");
            let mut more = [0; 8];
            let next = connection.read(&mut more);
            if said == GREETING_BYTES {
                let silent = tokio::time::timeout(3 * time, next).await;
                assert!(silent.is_err(), "it may be silent now: {silent:?}");
            } else {
                assert_eq!(next.await.expect_err("cut").kind(), io::ErrorKind::TimedOut, "after {said} bytes");
            }
        }
    }
}
