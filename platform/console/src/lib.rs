//! What the commands share: how they print, how they complain, and how they show names.
//!
//! A name is any bytes but `/` and NUL, and whoever may make a file chooses them. So no name goes to a terminal as it is:
//! for people it is quoted as GNU ls does it ([`quoted`]), for programs it is kept whole ([`Name`]).
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

use os_display::{Quotable, Quoted};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;

/// Writes to standard output. A reader that went away has read enough; anything else that the text does not get past is
/// an error: who asked has not been answered.
pub fn print(tell: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut to = BufWriter::new(io::stdout().lock());
    judge(tell(&mut to).and_then(|()| to.flush()))
}

/// What an attempt to write to standard output comes to, for what prints by itself.
pub fn judge(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            Err(io::Error::new(why.kind(), format!("cannot write to standard output: {why}")))
        }
        _ => Ok(()),
    }
}

/// Writes JSON to standard output.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    print(|to| writeln!(to, "{text}"))
}

/// Says what went wrong, in one line on standard error; nobody has to be there to read it.
pub fn complain(who: &str, what: impl Display) {
    let text = format!("{who}: {what}");
    let _ = writeln!(io::stderr(), "{}", visible(&text));
}

/// The same, and for programs that asked for JSON an object on standard output, which is nothing else then.
pub fn fail(who: &str, what: impl Display, json: bool) {
    let what = what.to_string();
    complain(who, &what);
    if json {
        let _ = print_json(&serde_json::json!({ "error": what }));
    }
}

/// A message with nothing in it that a terminal would obey: the last resort for what came into it unquoted.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// A name or a path for people: as it is if that can mean one thing only, else as a shell would read it back.
pub fn quoted<N: AsRef<OsStr> + ?Sized>(name: &N) -> Quoted<'_> {
    name.as_ref().maybe_quote()
}

/// The same, of a name as the file system has it.
pub fn quoted_bytes(name: &[u8]) -> Quoted<'_> {
    quoted(OsStr::from_bytes(name))
}

/// A name or a path for programs, as a field of an object. JSON has text only: what is no UTF-8 is in it with U+FFFD, and
/// a second field, `KEY_bytes`, has every byte in hexadecimal.
///
/// To be flattened into its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    key: &'static str,
    name: Option<Vec<u8>>,
}

impl Name {
    /// A name, as the field of this key.
    pub fn new<N: AsRef<OsStr> + ?Sized>(key: &'static str, name: &N) -> Self {
        Self::of(key, Some(name.as_ref().as_bytes()))
    }

    /// A name as the file system has it; null without one.
    pub fn of(key: &'static str, name: Option<&[u8]>) -> Self {
        Self { key, name: name.map(<[u8]>::to_vec) }
    }

    /// The name itself.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.name.as_deref()
    }

    /// For people.
    pub fn quoted(&self) -> Option<Quoted<'_>> {
        self.bytes().map(quoted_bytes)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut fields = to.serialize_map(None)?;
        let text = self.bytes().map(String::from_utf8_lossy);
        fields.serialize_entry(self.key, &text)?;
        if let Some(bytes) = self.bytes().filter(|bytes| std::str::from_utf8(bytes).is_err()) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            fields.serialize_entry(&format!("{}_bytes", self.key), &hex)?;
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_line_or_drive_a_terminal() {
        for name in [&b"a\nb"[..], b"\x1b[2Jx", b"\xff\xfe", "\u{202e}gpj.exe".as_bytes(), b"a\rb", b"\x9b2J"]
        {
            let shown = quoted_bytes(name).to_string();
            assert!(shown.starts_with("$'") || shown.starts_with('\''), "{shown}");
            assert!(
                !shown.contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{fffd}'),
                "{shown}"
            );
        }
        assert_eq!(quoted_bytes(b"it is").to_string(), "'it is'");
        assert_eq!(quoted_bytes("/plain/ünder_1.txt".as_bytes()).to_string(), "/plain/ünder_1.txt");
    }

    #[test]
    fn a_message_stays_in_its_line() {
        assert_eq!(visible("plain: ü"), "plain: ü");
        assert_eq!(visible("a\nb\x1b["), "a\\nb\\u{1b}[");
    }

    #[test]
    fn json_keeps_every_byte_of_a_name() {
        #[derive(serde::Serialize)]
        struct Object {
            #[serde(flatten)]
            path: Name,
            #[serde(flatten)]
            entry: Option<Name>,
        }
        let json = |name: Option<&[u8]>| {
            let object = Object { path: Name::of("path", name), entry: None };
            serde_json::to_string(&object).unwrap()
        };
        assert_eq!(json(None), r#"{"path":null}"#);
        assert_eq!(json(Some("ü\\".as_bytes())), r#"{"path":"ü\\"}"#);
        assert_eq!(json(Some(b"a\xff")), "{\"path\":\"a\u{fffd}\",\"path_bytes\":\"61ff\"}");
    }
}
