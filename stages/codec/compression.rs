//! Compression of whole files, both ways, as a stream with bounded memory.
//!
//! Reading takes several gzip members, zstd frames or LZ4 frames one after the other. Input that ends inside one of them
//! is an error, never a shorter file.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use restow_core::{EngineError, Result};

use super::options::StreamCompression;

/// Buffer between decompression and the decoder, in bytes.
const BUFFER: usize = 256 << 10;
/// zstd frames that need a larger window than 2^27 bytes (128 MiB) are refused, so that a file cannot ask for any memory.
const ZSTD_WINDOW_LOG: u32 = 27;

impl StreamCompression {
    /// The compression that a file's ending names, and the name without that ending: `a.jsonl.gz` is gzip and `a.jsonl`.
    pub fn of_name(name: &str) -> (Self, &str) {
        let endings = [
            (".gz", Self::Gzip),
            (".gzip", Self::Gzip),
            (".zst", Self::Zstd),
            (".zstd", Self::Zstd),
            (".lz4", Self::Lz4),
        ];
        let known = endings.into_iter().find_map(|(ending, compression)| {
            let stem = name.len().checked_sub(ending.len())?;
            let (front, back) = name.split_at_checked(stem)?;
            back.eq_ignore_ascii_case(ending).then_some((compression, front))
        });
        known.unwrap_or((Self::None, name))
    }

    /// What a file name ends in: `.gz`, `.zst`, `.lz4` or nothing.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Lz4 => ".lz4",
        }
    }

    /// The bytes of a compressed file, decompressed as they are read.
    pub(super) fn reader(self, input: impl BufRead + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(buffered(MultiGzDecoder::new(NotEmpty::new(input)?))),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(NotEmpty::new(input)?)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(buffered(decoder))
            }
            Self::Lz4 => Box::new(buffered(Lz4Frames::new(NotEmpty::new(input)?))),
        })
    }
}

fn buffered<R: Read>(reader: R) -> BufReader<R> {
    BufReader::with_capacity(BUFFER, reader)
}

/// Compressed input of zero bytes is truncated: even an empty file has a header. gzip and zstd would call it the end.
struct NotEmpty<R>(R);

impl<R: BufRead> NotEmpty<R> {
    fn new(mut input: R) -> io::Result<Self> {
        if input.fill_buf()?.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "compressed input of zero bytes"));
        }
        Ok(Self(input))
    }
}

impl<R: BufRead> Read for NotEmpty<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: BufRead> BufRead for NotEmpty<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}

/// LZ4 frames one after the other. The library's decoder says "end" at the end of a frame, at the end of the input, and
/// where the input ends in the middle of a frame between two blocks; this tells them apart by what was read meanwhile.
struct Lz4Frames<R: Read> {
    decoder: FrameDecoder<Counted<R>>,
    /// Whether no frame is open.
    between: bool,
}

struct Counted<R> {
    inner: R,
    bytes: u64,
    ends: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        if count == 0 && !buffer.is_empty() {
            self.ends += 1;
        }
        Ok(count)
    }
}

impl<R: Read> Lz4Frames<R> {
    fn new(inner: R) -> Self {
        Self { decoder: FrameDecoder::new(Counted { inner, bytes: 0, ends: 0 }), between: true }
    }
}

impl<R: Read> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let (bytes, ends) = (self.decoder.get_ref().bytes, self.decoder.get_ref().ends);
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                self.between = false;
                return Ok(count);
            }
            let input = self.decoder.get_ref();
            if input.ends == ends {
                // The end mark of a frame was read; another frame may follow.
                self.between = true;
            } else if self.between && input.bytes == bytes {
                return Ok(0);
            } else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the last LZ4 frame has no end mark"));
            }
        }
    }
}

/// Compresses into memory; [`Compressor::take`] drains it.
pub(super) enum Compressor {
    None(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
}

impl Compressor {
    pub(super) fn new(compression: StreamCompression, level: Option<u32>) -> Result<Self> {
        Ok(match compression {
            StreamCompression::None => Self::None(Vec::new()),
            StreamCompression::Gzip => {
                Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level.unwrap_or(6).min(9))))
            }
            StreamCompression::Zstd => {
                let level = i32::try_from(level.unwrap_or(3)).unwrap_or(i32::MAX);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).map_err(failed)?;
                encoder.include_checksum(true).map_err(failed)?;
                Self::Zstd(encoder)
            }
            StreamCompression::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
                Self::Lz4(Box::new(FrameEncoder::with_frame_info(info, Vec::new())))
            }
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::None(buffer) => buffer.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Lz4(encoder) => encoder.write_all(bytes),
        }
        .map_err(failed)
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::None(buffer) => buffer,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Lz4(encoder) => encoder.get_mut(),
        })
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::None(buffer) => Ok(buffer),
            Self::Gzip(encoder) => encoder.finish().map_err(failed),
            Self::Zstd(encoder) => encoder.finish().map_err(failed),
            Self::Lz4(encoder) => encoder.finish().map_err(|error| EngineError::failed(format!("lz4: {error}"))),
        }
    }
}

fn failed(error: io::Error) -> EngineError {
    EngineError::failed(format!("compression failed: {error}"))
}
