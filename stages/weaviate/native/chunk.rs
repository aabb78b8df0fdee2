//! A chunk of a backup, unpacked as it is read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::error::{NativeError, Result};

/// Bytes of a chunk that are read at once.
const BUFFER: usize = 256 << 10;
/// The largest window of a zstd frame, as a power of two. The server's encoder uses up to 32 MiB; a frame that asks for more
/// is refused, since a window is allocated before anything is known of the frame.
const WINDOW_LOG: u32 = 25;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How the chunks of a backup are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// The levels whose names begin with Zstd: Weaviate 1.35 and newer, and late patches of 1.34.
    Zstd,
    /// All other levels but `NoCompression`; the only one of older servers.
    Gzip,
    /// `NoCompression`.
    None,
}

impl Compression {
    /// The compression that a descriptor names; gzip where it names none, as servers before zstd did.
    ///
    /// # Errors
    /// The name is not known.
    pub(super) fn named(path: &Path, name: Option<&str>) -> Result<Self> {
        match name.unwrap_or_default() {
            "zstd" => Ok(Self::Zstd),
            "gzip" | "" => Ok(Self::Gzip),
            "none" => Ok(Self::None),
            other => {
                Err(NativeError::descriptor(path, format!("compression {other:?} is neither zstd, gzip nor none")))
            }
        }
    }

    /// As the descriptor names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::None => "uncompressed",
        }
    }

    /// What the first bytes of a file say. A tar archive begins with the name of a file, which is neither magic number.
    fn of(start: &[u8]) -> Self {
        if start.starts_with(&ZSTD) {
            Self::Zstd
        } else if start.starts_with(&GZIP) {
            Self::Gzip
        } else {
            Self::None
        }
    }
}

/// Opens a chunk that should have this compression.
///
/// # Errors
/// It cannot be read, or its first bytes say otherwise.
pub(super) fn open(path: &Path, compression: Compression) -> Result<Box<dyn Read>> {
    let read = |error: io::Error| NativeError::io("read", path, error);
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut start)).map_err(read)?;
    let found = Compression::of(&start);
    if found != compression {
        let reason = format!("it is {}, and the backup says {}", found.name(), compression.name());
        return Err(NativeError::damaged(&path.to_string_lossy(), 0, reason));
    }
    let file = BufReader::with_capacity(BUFFER, File::open(path).map_err(read)?);
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(file).map_err(read)?;
            decoder.window_log_max(WINDOW_LOG).map_err(read)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
    })
}
