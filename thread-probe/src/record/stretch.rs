//! Samples one after the other: the first whole, each further one as what changed, compressed as one stream. Where a
//! stretch begins, reading can begin.

use std::io::{self, Write as _};

use serde::{Serialize, de::DeserializeOwned};
use zstd::stream::{
    raw::{CParameter, Decoder, InBuffer, Operation as _, OutBuffer},
    write::Encoder,
};

use super::{
    delta::{self, Malformed},
    read_value::read_value,
    value::{Names, NoValue, Value, value_of},
};

/// What can be looked back at: 512 kB. It is what a reader needs of memory.
const WINDOW_LOG: u32 = 19;
/// Higher ones win a few percent and take several times as long.
const LEVEL: i32 = 3;
/// A sample of 50,000 processes; more is no sample.
const MAX_PLAIN_BYTES: usize = 256 << 20;

/// A sample as it is recorded.
pub(super) struct Frame {
    /// Whether a stretch begins with it.
    pub(super) is_first: bool,
    /// Bytes before they were compressed.
    pub(super) plain_bytes: u32,
    /// Compressed.
    pub(super) bytes: Vec<u8>,
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Bytes that are no sample.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Of another kind than a sample, or of one that is not known.
    #[error("{0}")]
    NoSample(#[from] NoValue),
    /// Compressing, or what was compressed.
    #[error("zstd: {0}")]
    Zstd(io::Error),
    /// Too large to be one.
    #[error("a sample of {0} bytes: none is that large")]
    TooLarge(usize),
    /// What a change is to be applied to is not there.
    #[error("it begins in the middle")]
    NoFirst,
}

/// Makes frames of samples.
#[derive(Default)]
pub(super) struct Writer {
    names: Names,
    encoder: delta::Encoder,
    /// The stream and the sample before; `None` where a stretch is to begin.
    stretch: Option<(Encoder<'static, Vec<u8>>, Value)>,
}

impl Writer {
    /// The next sample begins a stretch: what is read from there on needs nothing before it.
    pub(super) fn begin(&mut self) {
        self.stretch = None;
    }

    /// Takes in a sample, which was taken about so long after the one before.
    ///
    /// # Errors
    /// It can't be recorded. Then the next one begins a stretch.
    pub(super) fn write(&mut self, sample: &impl Serialize, interval_ns: i64) -> Result<Frame, Failure> {
        let (mut stream, before) = if let Some((stream, before)) = self.stretch.take() {
            (stream, Some(before))
        } else {
            self.names = Names::default();
            self.encoder.begin();
            (new_stream().map_err(Failure::Zstd)?, None)
        };
        let now = value_of(&mut self.names, sample)?;
        let plain = self.encoder.encode(&self.names, interval_ns, before.as_ref(), &now);
        if plain.len() > MAX_PLAIN_BYTES {
            return Err(Failure::TooLarge(plain.len()));
        }
        stream.write_all(&plain).and_then(|()| stream.flush()).map_err(Failure::Zstd)?;
        let bytes = std::mem::take(stream.get_mut());
        self.stretch = Some((stream, now));
        Ok(Frame { is_first: before.is_none(), plain_bytes: plain.len() as u32, bytes })
    }
}

fn new_stream() -> io::Result<Encoder<'static, Vec<u8>>> {
    let mut stream = Encoder::new(Vec::new(), LEVEL)?;
    stream.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    Ok(stream)
}

/// Samples between those that are kept as they are, to go back to.
const KEPT_EVERY: usize = 24;

/// Makes samples of the frames of a stretch.
#[derive(Default)]
pub(super) struct Reader {
    names: Names,
    stream: Option<Decoder<'static>>,
    /// What was compressed, of each frame so far.
    plain: Vec<Vec<u8>>,
    /// One sample of so many.
    kept: Vec<Value>,
    /// A sample and its number; `None` before the first and after damage.
    at: Option<(usize, Value)>,
}

impl Reader {
    /// How many frames were taken in.
    pub(super) fn len(&self) -> usize {
        self.plain.len()
    }

    /// Takes in the next frame.
    ///
    /// # Errors
    /// It is damaged, or does not begin the stretch where it should.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), Failure> {
        if frame.is_first != self.plain.is_empty() {
            return Err(Failure::NoFirst);
        }
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => Decoder::new().map_err(Failure::Zstd)?,
        };
        self.plain.push(decompress(&mut stream, frame)?);
        self.stream = Some(stream);
        Ok(())
    }

    /// The sample of a frame that was taken in, by its number.
    ///
    /// # Errors
    /// It is damaged, or of another kind.
    pub(super) fn sample<T: DeserializeOwned>(&mut self, number: usize) -> Result<T, Failure> {
        let (mut at, mut value) = match self.at.take() {
            Some((at, value)) if at <= number => (at, value),
            _ => self.kept_before(number)?,
        };
        while at < number {
            at += 1;
            value = self.change(at, Some(value))?;
        }
        let sample = read_value(&self.names, &value)?;
        self.at = Some((at, value));
        Ok(sample)
    }

    /// The last one that is kept, or else the first.
    fn kept_before(&mut self, number: usize) -> Result<(usize, Value), Failure> {
        let last = (number / KEPT_EVERY).min(self.kept.len().saturating_sub(1));
        match self.kept.get(last) {
            Some(value) => Ok((last * KEPT_EVERY, value.clone())),
            None => Ok((0, self.change(0, None)?)),
        }
    }

    fn change(&mut self, number: usize, before: Option<Value>) -> Result<Value, Failure> {
        let plain = self.plain.get(number).ok_or(Failure::NoFirst)?;
        let value = delta::apply(&mut self.names, before, plain)?;
        if number == self.kept.len() * KEPT_EVERY {
            self.kept.push(value.clone());
        }
        Ok(value)
    }
}

fn decompress(stream: &mut Decoder<'static>, frame: &Frame) -> Result<Vec<u8>, Failure> {
    let size = frame.plain_bytes as usize;
    if size > MAX_PLAIN_BYTES {
        return Err(Failure::TooLarge(size));
    }
    // Grows with what comes: a size is easily claimed.
    let (mut plain, mut input) = (Vec::new(), InBuffer::around(&frame.bytes));
    let mut block = [0; 16 << 10];
    loop {
        let mut output = OutBuffer::around(&mut block[..]);
        stream.run(&mut input, &mut output).map_err(Failure::Zstd)?;
        let written = output.pos();
        plain.extend(&block[..written]);
        if plain.len() > size {
            return Err(Malformed.into());
        }
        if input.pos() == frame.bytes.len() && written < block.len() {
            break;
        }
    }
    if plain.len() == size { Ok(plain) } else { Err(Malformed.into()) }
}
