//! Where messages go: to standard error, and to the system's log once the daemon has let go of its terminal.
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

static SYSTEM_LOG: OnceLock<Option<UnixDatagram>> = OnceLock::new();

/// From here on messages go to the system's log, or nowhere if there is none.
pub(super) fn leave_the_terminal() {
    let _ = SYSTEM_LOG.set(connect().ok());
}

fn connect() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect("/dev/log")?;
    // A log that nobody reads must not stop a file system.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sends each message, which arrives in one write, to where messages go.
struct Output;

impl Write for Output {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        match SYSTEM_LOG.get() {
            None => io::stderr().write_all(message)?,
            Some(None) => {}
            Some(Some(socket)) => {
                // Facility daemon, severity notice; RFC 3164. What the log does not take is lost.
                let head = format!("<29>bento[{}]: ", std::process::id());
                let _ = socket.send(&[head.as_bytes(), message.trim_ascii_end()].concat());
            }
        }
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to log.
pub(super) fn init() {
    let filter = env_logger::Env::default().default_filter_or("info");
    let mut logger = env_logger::Builder::from_env(filter);
    logger.format(|to, record| {
        let message = record.args().to_string();
        let message = bento_console::visible(&message);
        match record.level() {
            log::Level::Info => writeln!(to, "bento: {message}"),
            level => writeln!(to, "bento: {}: {message}", level.as_str().to_lowercase()),
        }
    });
    let _ = logger.target(env_logger::Target::Pipe(Box::new(Output))).try_init();
}
