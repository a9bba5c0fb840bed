//! Ends connections whose client reads too slowly: each holds on to the answer of an old sample.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

/// How often it is looked whether who does not read now has read enough.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// An answer may take so long, whoever reads it.
const PATIENCE: Duration = Duration::from_secs(5);
/// What an answer that takes longer has to flow at, in bytes a second.
const SLOWEST: f64 = 100_000.0;
/// While answers take more memory than they may, patience is this.
const LITTLE_PATIENCE: Duration = Duration::from_secs(1);

/// How many bytes of answers there are, of this sample and of old ones that somebody is still reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<AtomicUsize>);

impl Answers {
    /// Beyond it the slow ones are ended.
    const MAX_BYTES: usize = 32 << 20;

    fn are_too_many(&self) -> bool {
        self.0.load(Ordering::Relaxed) > Self::MAX_BYTES
    }

    /// Counts an answer for as long as anybody has it.
    pub(super) fn count(&self, mut bytes: Vec<u8>) -> Counted {
        bytes.shrink_to_fit();
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Counted { bytes, all: self.clone() }
    }
}

/// Bytes of an answer.
#[derive(Debug)]
pub(super) struct Counted {
    bytes: Vec<u8>,
    all: Answers,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// When a connection last moved a byte, for who has to choose which to end.
#[derive(Clone, Debug)]
pub(super) struct LastMove {
    start: Instant,
    after_ms: Arc<AtomicUsize>,
}

impl LastMove {
    pub(super) fn now() -> Self {
        Self { start: Instant::now(), after_ms: Arc::default() }
    }

    fn moved(&self) {
        self.after_ms.store(self.start.elapsed().as_millis() as usize, Ordering::Relaxed);
    }

    /// How long ago the connection was made.
    pub(super) fn age(&self) -> Duration {
        self.start.elapsed()
    }

    /// How long ago a byte was moved.
    pub(super) fn rest(&self) -> Duration {
        self.age().saturating_sub(Duration::from_millis(self.after_ms.load(Ordering::Relaxed) as u64))
    }
}

/// A stream that ends when its client is too slow a reader.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    last_move: LastMove,
    answers: Answers,
    /// Since the buffers of both hosts were full of this answer.
    waiting_since: Option<Instant>,
    /// What the client has made room for since.
    taken: u64,
    looks: Option<Interval>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, last_move: LastMove, answers: Answers) -> Self {
        Self { stream, last_move, answers, waiting_since: None, taken: 0, looks: None }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    fn is_too_slow(&self) -> bool {
        let waited = self.waiting_since.map_or(Duration::ZERO, |since| since.elapsed());
        let patience = if self.answers.are_too_many() { LITTLE_PATIENCE } else { PATIENCE };
        waited > patience && (self.taken as f64) < waited.as_secs_f64() * SLOWEST
    }

    /// The client takes nothing just now.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.waiting_since.get_or_insert_with(Instant::now);
        loop {
            let looks = self.looks.get_or_insert_with(|| {
                let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
                looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                looks
            });
            ready!(looks.poll_tick(context));
            if self.is_too_slow() {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly"));
            }
        }
    }

    fn has_written(&mut self, bytes: usize) {
        if self.waiting_since.is_some() {
            self.taken += bytes as u64;
        }
        self.looks = None;
        self.last_move.moved();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.last_move.moved();
            // A client that sends while it is answered gets no more time by it.
            if self.looks.is_none() {
                self.waiting_since = None;
                self.taken = 0;
            }
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(Ok(written)) => {
                self.has_written(written);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(context).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, parts) {
            Poll::Ready(Ok(written)) => {
                self.has_written(written);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(context).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.wait(context).map(Err),
            Poll::Ready(outcome) => Poll::Ready(outcome),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn watched(answers: &Answers) -> (Watched<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (near, far) = duplex(1000);
        (Watched::new(near, LastMove::now(), answers.clone()), far)
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_ended_after_five_seconds() {
        let (mut near, _far) = watched(&Answers::default());
        let started = Instant::now();
        let ended = near.write_all(&[0; 5000]).await;
        assert!(ended.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut));
        assert!((5.0..6.1).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_a_byte_a_second_is_ended_too() {
        let (mut near, mut far) = watched(&Answers::default());
        let reading = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let started = Instant::now();
        assert!(near.write_all(&[0; 5000]).await.is_err());
        assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
        drop(near);
        reading.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_fast_enough_gets_all_however_long_it_takes() -> io::Result<()> {
        let (mut near, mut far) = watched(&Answers::default());
        let reading = tokio::spawn(async move {
            let mut all = 0;
            let mut buffer = [0; 1000];
            while let Ok(bytes @ 1..) = far.read(&mut buffer).await {
                all += bytes;
                tokio::time::sleep(Duration::from_millis(8)).await;
            }
            all
        });
        near.write_all(&vec![0; 2_000_000]).await?;
        drop(near);
        assert_eq!(reading.await?, 2_000_000);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn while_answers_take_too_much_memory_there_is_less_patience() {
        let answers = Answers::default();
        let old = answers.count(vec![0; Answers::MAX_BYTES + 1]);
        let (mut near, _far) = watched(&answers);
        let started = Instant::now();
        assert!(near.write_all(&[0; 5000]).await.is_err());
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        drop(old);
        assert!(!answers.are_too_many());
    }
}
