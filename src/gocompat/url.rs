// SPDX-License-Identifier: Apache-2.0
//! What Go accepts as the URL of a request (`net/url.ParseRequestURI`), and in which words it refuses.

use super::quote::quote;

/// Why a text is no URL of a request, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestUriError {
    /// A control character, anywhere.
    #[error("net/url: invalid control character in URL")]
    ControlCharacter,
    /// Nothing at all.
    #[error("empty url")]
    Empty,
    /// A colon at the start.
    #[error("missing protocol scheme")]
    MissingScheme,
    /// Neither a scheme nor an absolute path.
    #[error("invalid URI for request")]
    NotAUri,
    /// `[` without `]` in the host.
    #[error("missing ']' in host")]
    MissingBracket,
    /// What follows the colon of the host is no number.
    #[error("invalid port {} after host", quote(.0))]
    Port(String),
    /// A percent sign without two hexadecimal digits, or one that the host may not have.
    #[error("invalid URL escape {}", quote_bytes(.0))]
    Escape(Vec<u8>),
    /// A character that no host may have.
    #[error("invalid character {} in host name", quote_bytes(std::slice::from_ref(.0)))]
    HostCharacter(u8),
    /// A character that user and password may not have.
    #[error("net/url: invalid userinfo")]
    UserInfo,
}

/// Where percent-escapes stand: a host may not use all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    Zone,
    Elsewhere,
}

/// Checks a URL as Go does it for the first line of a request: absolute, or at least an absolute path.
///
/// # Errors
/// [`RequestUriError`].
pub(crate) fn check_request_uri(text: &str) -> Result<(), RequestUriError> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(RequestUriError::ControlCharacter);
    }
    if text.is_empty() {
        return Err(RequestUriError::Empty);
    }
    if text == "*" {
        return Ok(());
    }
    let (scheme, rest) = split_scheme(text)?;
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    if !rest.starts_with('/') {
        return if scheme.is_some() { Ok(()) } else { Err(RequestUriError::NotAUri) };
    }
    let path = match rest.strip_prefix("//") {
        Some(rest) if scheme.is_some() => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            check_authority(authority)?;
            path
        }
        Some(_) | None => rest,
    };
    check_escapes(path, Place::Elsewhere)
}

/// The scheme, if there is one, and what follows its colon.
fn split_scheme(text: &str) -> Result<(Option<&str>, &str), RequestUriError> {
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let Some((scheme, rest)) = text.split_once(|c| !in_scheme(c)).filter(|(scheme, _)| {
        // The separator is one ASCII character only if it is the colon.
        text.get(scheme.len()..).is_some_and(|rest| rest.starts_with(':'))
    }) else {
        return Ok((None, text));
    };
    match scheme.chars().next() {
        None => Err(RequestUriError::MissingScheme),
        Some(first) if first.is_ascii_alphabetic() => Ok((Some(scheme), rest)),
        Some(_) => Ok((None, text)),
    }
}

fn check_authority(authority: &str) -> Result<(), RequestUriError> {
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    check_host(host)?;
    let Some(user) = user else { return Ok(()) };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(fits) {
        return Err(RequestUriError::UserInfo);
    }
    check_escapes(user, Place::Elsewhere)
}

fn check_host(host: &str) -> Result<(), RequestUriError> {
    if !host.starts_with('[') {
        check_port(host.rfind(':').and_then(|colon| host.get(colon..)).unwrap_or(""))?;
        return check_escapes(host, Place::Host);
    }
    let (address, port) = host.rsplit_once(']').ok_or(RequestUriError::MissingBracket)?;
    check_port(port)?;
    let Some(zone) = address.find("%25") else {
        return check_escapes(host, Place::Host);
    };
    let (address, zone) = address.split_at(zone);
    check_escapes(address, Place::Host)?;
    check_escapes(zone, Place::Zone)?;
    check_escapes(port, Place::Host)
}

/// `port` is empty, or starts with the colon.
fn check_port(port: &str) -> Result<(), RequestUriError> {
    let fits = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    if fits { Ok(()) } else { Err(RequestUriError::Port(port.to_owned())) }
}

fn check_escapes(text: &str, place: Place) -> Result<(), RequestUriError> {
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first == b'%' {
            let escape = || RequestUriError::Escape(rest.iter().take(3).copied().collect());
            let value = escaped_byte(behind).ok_or_else(escape)?;
            let fits = match place {
                Place::Elsewhere => true,
                // A host escapes only what is not ASCII; a zone begins with an escaped percent sign.
                Place::Host => value >= 0x80 || rest.starts_with(b"%25"),
                Place::Zone => rest.starts_with(b"%25") || value == b' ' || is_host_byte(value),
            };
            if !fits {
                return Err(escape());
            }
            rest = behind.get(2..).unwrap_or_default();
        } else {
            if place != Place::Elsewhere && first < 0x80 && !is_host_byte(first) {
                return Err(RequestUriError::HostCharacter(first));
            }
            rest = behind;
        }
    }
    Ok(())
}

/// The byte that two hexadecimal digits at the start stand for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Characters that Go leaves alone in a host.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// [`quote`] for bytes that may end within a character.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        quoted.push_str(quote(chunk.valid()).trim_matches('"'));
        quoted.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    quoted.push('"');
    quoted
}
