//! Files that another version wrote: refused with words, before anything else of them is read.

use std::io;

use serde::Deserialize;

/// Checks the `v` of a JSON file. One that has none is left to whoever reads it whole.
///
/// # Errors
/// When it is not the one that this program knows.
pub(crate) fn check(bytes: &[u8], known: u32) -> io::Result<()> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    match serde_json::from_slice::<Versioned>(bytes) {
        Ok(Versioned { v }) if v != known => Err(unknown(v)),
        _ => Ok(()),
    }
}

/// The error for a version that this program does not know.
pub(crate) fn unknown(found: impl std::fmt::Display) -> io::Error {
    let text = format!(
        "it is of format version {found}, which this program does not know; use the version of tollbook that wrote it, or \
         a newer one"
    );
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// Whether bytes begin with a mark of ours whose last characters, its version, are others.
pub(crate) fn other(found: &[u8], known: &[u8], digits: usize) -> Option<String> {
    let (name, version) = known.split_at_checked(known.len().checked_sub(digits)?)?;
    let found = found.get(..known.len())?.strip_prefix(name)?;
    (found != version && found.iter().all(u8::is_ascii_digit))
        .then(|| String::from_utf8_lossy(found).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{check, other};

    #[test]
    fn versions_of_json_and_of_marks() {
        assert!(check(br#"{"v":1,"more":[]}"#, 1).is_ok());
        assert!(check(b"damaged", 1).is_ok());
        assert!(check(br#"{"v":2}"#, 1).is_err_and(|error| error.to_string().contains("version 2")));
        assert_eq!(other(b"TBPACK02....", b"TBPACK01", 2).as_deref(), Some("02"));
        assert_eq!(other(b"TBPACK01....", b"TBPACK01", 2), None);
        assert_eq!(other(b"\0\0\0\0\0\0\0\0", b"TBPACK01", 2), None);
        assert_eq!(other(b"TB", b"TBPACK01", 2), None);
    }
}
