//! Random names and secrets.

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::crypto::ring;

/// `N` bytes from the operating system.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| anyhow!("the operating system gives no random numbers"))?;
    Ok(bytes)
}

/// A secret of 256 bits as 64 hexadecimal digits.
pub(crate) fn secret() -> Result<String> {
    Ok(hex(&bytes::<32>()?))
}

/// Eight hexadecimal digits, to tell one run from another.
pub(crate) fn tag() -> Result<String> {
    Ok(hex(&bytes::<4>()?))
}

/// A homeserver's signing key, in the format of its key file.
pub(crate) fn signing_key() -> Result<String> {
    let seed = STANDARD_NO_PAD.encode(bytes::<32>()?);
    Ok(format!("ed25519 a_{} {seed}\n", tag()?))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .map(|digit| DIGITS[usize::from(digit)])
        .collect()
}
