//! The framing between `tollbook wrap` and the gateway, after an HTTP/1.1 upgrade to `tollbook-wrap`: one byte for what
//! it is, four for the length (big-endian), then the bytes.
//!
//! `wrap` holds the client's and the server's standard streams and decides nothing: each message makes a round through
//! the gateway before it reaches the other side.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The protocol's name in the `Upgrade` header.
pub const PROTOCOL: &str = "tollbook-wrap";

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// To the gateway: a line from the client. From the gateway: a line for the client.
    Client,
    /// To the gateway: a line from the server. From the gateway: a line for the server.
    Server,
    /// To the gateway: the client's input has ended. From the gateway: close the server's input.
    ClientEnd,
    /// To the gateway: the server has ended, in words or as [`NOT_STARTED`]. From the gateway: everything is recorded; end,
    /// and say why, if there are words.
    ServerEnd,
    /// To the gateway: a line that was longer than the limit; its frame is [`JUNK_OF_CLIENT`] or [`JUNK_OF_SERVER`].
    Junk,
}

/// The server's program is not there, or not to be run.
pub const NOT_STARTED: &[u8] = b"not started";
/// The client's line was too long.
pub const JUNK_OF_CLIENT: &[u8] = b"c";
/// The server's line was too long.
pub const JUNK_OF_SERVER: &[u8] = b"s";

impl Tag {
    fn byte(self) -> u8 {
        match self {
            Tag::Client => b'c',
            Tag::Server => b's',
            Tag::ClientEnd => b'C',
            Tag::ServerEnd => b'S',
            Tag::Junk => b'j',
        }
    }

    fn of(byte: u8) -> Option<Tag> {
        [Tag::Client, Tag::Server, Tag::ClientEnd, Tag::ServerEnd, Tag::Junk]
            .into_iter()
            .find(|tag| tag.byte() == byte)
    }
}

/// Reads one frame of at most `limit` bytes; `None` at the end of the stream.
///
/// # Errors
/// The stream's own, `InvalidData` for an unknown tag or a frame beyond the limit, `UnexpectedEof` inside a frame.
pub async fn read<R: AsyncRead + Unpin>(reader: &mut R, limit: usize) -> io::Result<Option<(Tag, Bytes)>> {
    let Some((tag, length)) = read_head(reader).await? else { return Ok(None) };
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than the limit"));
    }
    Ok(Some((tag, read_whole(reader, length).await?)))
}

/// Reads what stands before a frame's bytes: what it holds, and how many they are.
///
/// # Errors
/// As of [`read`].
pub(crate) async fn read_head<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<(Tag, usize)>> {
    let tag = match reader.read_u8().await {
        Ok(byte) => {
            Tag::of(byte).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown frame"))?
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some((tag, reader.read_u32().await? as usize)))
}

/// Reads so many bytes of a frame.
///
/// # Errors
/// As of [`read`].
pub(crate) async fn read_whole<R: AsyncRead + Unpin>(reader: &mut R, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}

/// Writes one frame and flushes it.
///
/// # Errors
/// The stream's own, `InvalidInput` beyond 4 GiB.
pub async fn write<W: AsyncWrite + Unpin>(writer: &mut W, tag: Tag, frame: &[u8]) -> io::Result<()> {
    write_head(writer, tag, frame.len()).await?;
    writer.write_all(frame).await?;
    writer.flush().await
}

/// Writes what stands before a frame's bytes.
///
/// # Errors
/// As of [`write()`].
pub(crate) async fn write_head<W: AsyncWrite + Unpin>(
    writer: &mut W,
    tag: Tag,
    length: usize,
) -> io::Result<()> {
    let length = u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
    writer.write_u8(tag.byte()).await?;
    writer.write_u32(length).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back() {
        let mut wire = Vec::new();
        write(&mut wire, Tag::Client, b"{}").await.expect("write");
        write(&mut wire, Tag::ServerEnd, b"").await.expect("write");
        let mut reader = wire.as_slice();
        assert_eq!(
            read(&mut reader, 10).await.expect("read"),
            Some((Tag::Client, Bytes::from_static(b"{}")))
        );
        assert_eq!(read(&mut reader, 10).await.expect("read"), Some((Tag::ServerEnd, Bytes::new())));
        assert_eq!(read(&mut reader, 10).await.expect("read"), None);
    }

    #[tokio::test]
    async fn bad_frames_are_errors() {
        for (wire, kind) in [
            (&b"x\0\0\0\0"[..], io::ErrorKind::InvalidData),
            (&b"c\0\0\0\x0b"[..], io::ErrorKind::InvalidData),
            (&b"c\0\0\0\x02{"[..], io::ErrorKind::UnexpectedEof),
            (&b"c\0"[..], io::ErrorKind::UnexpectedEof),
        ] {
            let mut reader = wire;
            assert_eq!(read(&mut reader, 10).await.expect_err("bad").kind(), kind, "{wire:?}");
        }
    }
}
