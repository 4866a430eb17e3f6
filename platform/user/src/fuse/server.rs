//! The server: reads requests, has a [`Handler`] serve them on a pool of threads, and sends the replies.
//!
//! It can be paused between requests, in microseconds and without the clients noticing more than a delay:
//! requests wait in the kernel. A paused or stopped connection can be served on, by this server, or by
//! another process that is given the descriptor and [`Negotiated`](super::conn::Negotiated).
//!
//! A leader that sleeps in read(2) is woken for a pause by a signal ([`crate::sys`]). That keeps the usual path
//! at two system calls for a request; a poll(2) of device and eventfd before each read would be a third, an
//! eighth of the cost of a small request.

use super::abi::Opcode;
use super::conn::{Buffer, Connection, End, SendError};
use super::pool::{Next, Pool, Seat};
use super::prime::{Opens, Primer};
use super::reply::{self, ReplyBuf};
use super::request::{DecodeError, Header, Op, decode};
use crate::sys;
use rustix::io::Errno;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;

/// What serves requests: the file system, seen from FUSE.
///
/// Called from several threads at once. `Ok` sends what is in `reply` (nothing, for requests that return
/// nothing); `Err` sends the error number and drops what is in `reply`. ENOSYS makes the kernel never send
/// that opcode again, so it is right for what is not supported at all, and wrong for one file.
///
/// FORGET and BATCH_FORGET have no reply; what is returned for them is not looked at, and node ids that the
/// handler does not know are to be passed over. INIT, INTERRUPT, NOTIFY_REPLY and, with [`Opens::Stateless`], opens and closes never arrive here. DESTROY does (block devices
/// only): umount(2) waits for its answer, so this is where to commit.
///
/// A panic is answered with EIO; the thread goes on.
pub trait Handler: Send + Sync {
    /// Serves one request.
    fn handle(&self, request: &Request<'_>, op: Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno>;

    /// The kernel did not take a reply that handed out references to inodes (the client was killed, or the
    /// connection was aborted). To be undone as if they were forgotten, one for each node id.
    fn undelivered(&self, header: &Header, nodeids: &mut dyn Iterator<Item = u64>) {
        let _ = (header, nodeids);
    }
}

impl<H: Handler + ?Sized> Handler for Arc<H> {
    fn handle(&self, request: &Request<'_>, op: Op<'_>, reply: &mut ReplyBuf<'_>) -> Result<(), Errno> {
        (**self).handle(request, op, reply)
    }

    fn undelivered(&self, header: &Header, nodeids: &mut dyn Iterator<Item = u64>) {
        (**self).undelivered(header, nodeids);
    }
}

/// A request being served: its header, and a word with the thread pool.
pub struct Request<'a> {
    /// Who asks, and about what.
    pub header: Header,
    turn: Option<&'a dyn Fn()>,
}

impl Request<'_> {
    /// A request outside of any server, for tests of a handler.
    pub fn detached(header: Header) -> Self {
        Self { header, turn: None }
    }

    /// To be called before anything that sleeps (I/O, a wait for a commit): another thread takes over reading,
    /// so that other clients do not wait for this one. Cheap to call again.
    pub fn will_block(&self) {
        if let Some(turn) = self.turn {
            turn();
        }
    }
}

/// How to serve.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Who answers opens and closes.
    pub opens: Opens,
    /// How many threads may compute at once.
    pub cpus: usize,
    /// How many threads there may be, asleep in the handler or not.
    pub threads: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        // More than 8 threads fight for the device's one queue.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        Self { opens: Opens::Stateless, cpus, threads: 64 }
    }
}

/// Requests served, by opcode.
#[derive(Debug)]
pub struct RequestCounts {
    counts: [AtomicU64; Self::LEN],
}

impl RequestCounts {
    const LEN: usize = 64;

    fn new() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; Self::LEN] }
    }

    fn add(&self, opcode: u32) {
        // Opcodes that we do not know share slot 0, which is none.
        let slot = usize::try_from(opcode).ok().and_then(|slot| self.counts.get(slot));
        if let Some(count) = slot.or(self.counts.first()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many of this kind were read since the server started.
    pub fn get(&self, opcode: Opcode) -> u64 {
        let slot = usize::try_from(opcode.raw()).ok().and_then(|slot| self.counts.get(slot));
        slot.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How many requests were read that we do not speak.
    pub fn unknown(&self) -> u64 {
        self.counts.first().map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// All that occurred, in the order of their numbers.
    pub fn snapshot(&self) -> Vec<(Opcode, u64)> {
        Opcode::ALL.iter().map(|&op| (op, self.get(op))).filter(|&(_, count)| count != 0).collect()
    }
}

/// Why a server did not pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PauseError {
    /// A request took longer than the budget. The server goes on as before.
    #[error("a request took longer than the pause may take")]
    TimedOut,
    /// There is nothing left to pause.
    #[error("the server has ended: {0}")]
    Ended(End),
}

/// A running server. Dropping it does not end it; an unmount or [`stop`](Self::stop) does.
pub struct Server<H: Handler + 'static> {
    shared: Arc<Shared<H>>,
}

struct Shared<H> {
    connection: Connection,
    handler: H,
    primer: Primer,
    counts: RequestCounts,
    pool: Pool,
}

impl<H: Handler + 'static> Server<H> {
    /// Begins to serve, on threads of its own. They inherit the caller's signal mask, which must let SIGURG
    /// through: it is what wakes them for a pause.
    pub fn start(connection: Connection, handler: H, options: ServerOptions) -> io::Result<Self> {
        sys::make_threads_wakeable()?;
        let shared = Arc::new(Shared {
            connection,
            handler,
            primer: Primer::new(options.opens),
            counts: RequestCounts::new(),
            pool: Pool::new(options.cpus, options.threads),
        });
        shared.pool.start(&|seat| spawn(&shared, seat))?;
        Ok(Self { shared })
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.shared.handler
    }

    /// The connection: for notifications, and to hand it to another process once stopped.
    pub fn connection(&self) -> &Connection {
        &self.shared.connection
    }

    /// Requests served so far.
    pub fn counts(&self) -> &RequestCounts {
        &self.shared.counts
    }

    /// Stops reading, and returns once no request is between its read and its reply. If that takes longer
    /// than `budget` the server goes on, and this is an error: a pause is never longer than asked for.
    pub fn pause(&self, budget: Duration) -> Result<(), PauseError> {
        let pool = &self.shared.pool;
        pool.request_pause().map_err(PauseError::Ended)?;
        match pool.wait_drained(budget) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.resume();
                Err(PauseError::TimedOut)
            }
            Err(end) => Err(PauseError::Ended(end)),
        }
    }

    /// Goes on after a pause. No effect on a server that is not paused.
    pub fn resume(&self) {
        if let Err(error) = self.shared.pool.resume(&|seat| spawn(&self.shared, seat)) {
            // Only a pool without a single thread needs to spawn here, and it has had one since `start`.
            log::error!("cannot resume serving FUSE requests: {error}");
        }
    }

    /// Pauses, then ends all threads. The mount stays, and waits for another server on the same descriptor.
    pub fn stop(&self, budget: Duration) -> Result<(), PauseError> {
        self.pause(budget)?;
        self.shared.pool.end(End::Stopped);
        self.shared.pool.join();
        Ok(())
    }

    /// Waits until the server has ended and its threads are gone; why it ended.
    pub fn wait(&self) -> End {
        self.shared.pool.join()
    }
}

fn spawn<H: Handler + 'static>(shared: &Arc<Shared<H>>, seat: Arc<Seat>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("bento-fuse".into()).spawn(move || Worker::new(shared, seat).run())
}

/// When to ask whether more requests wait, and what the answers mean. The question is a system call, a tenth
/// of a small request: it is asked each time while the answer is yes, and now and then while it is no.
struct Pacer {
    eager: u32,
    quiet: u32,
}

impl Pacer {
    const EAGER: u32 = 16;
    const QUIET: u32 = 8;

    /// For one who was just called up, because there was more.
    fn new() -> Self {
        Self { eager: Self::EAGER, quiet: 0 }
    }

    fn due(&mut self) -> bool {
        self.quiet = (self.quiet + 1) % Self::QUIET;
        self.eager > 0 || self.quiet == 0
    }

    fn found(&mut self, more: bool) {
        self.eager = if more { Self::EAGER } else { self.eager.saturating_sub(1) };
    }

    fn is_idle(&self) -> bool {
        self.eager == 0
    }
}

/// One thread. Starts as a leader.
struct Worker<H: Handler + 'static> {
    shared: Arc<Shared<H>>,
    seat: Arc<Seat>,
    thread: sys::ThreadId,
    request: Buffer,
    reply: Buffer,
    pacer: Pacer,
}

impl<H: Handler + 'static> Worker<H> {
    fn new(shared: Arc<Shared<H>>, seat: Arc<Seat>) -> Self {
        seat.take();
        let request = shared.connection.request_buffer();
        let reply = shared.connection.reply_buffer();
        Self { shared, seat, thread: sys::ThreadId::current(), request, reply, pacer: Pacer::new() }
    }

    fn run(mut self) {
        while self.lead() == Next::Lead {}
    }

    /// Reads and serves one request; comes back when it is to lead again.
    fn lead(&mut self) -> Next {
        if !self.shared.pool.begin_reading(&self.seat, self.thread) {
            return self.shared.pool.stand_down(&self.seat);
        }
        let received = self.shared.connection.receive(&mut self.request);
        self.seat.end_reading();
        let len = match received {
            Ok(Some(len)) => len,
            Ok(None) => return Next::Lead,
            Err(end) => {
                self.shared.pool.end(end);
                return Next::Exit;
            }
        };
        self.look_around();
        let turn = Turn { shared: &self.shared, asleep: Cell::new(false) };
        let message = self.request.bytes().get(..len).unwrap_or_default();
        self.shared.serve(&turn, message, self.reply.bytes());
        if turn.asleep.get() {
            return self.shared.pool.wake_up(&self.seat);
        }
        if self.pacer.is_idle() && self.shared.pool.is_crowded() {
            self.pacer = Pacer::new();
            return self.shared.pool.retire(&self.seat);
        }
        Next::Lead
    }

    /// Calls for help if more requests wait than this one.
    fn look_around(&mut self) {
        let pool = &self.shared.pool;
        if (pool.may_recruit() || pool.is_crowded()) && self.pacer.due() {
            let more = self.shared.connection.readable();
            self.pacer.found(more);
            if more && pool.may_recruit() {
                pool.recruit(&|seat| spawn(&self.shared, seat));
            }
        }
    }
}

/// One request's dealings with the pool.
struct Turn<'a, H: Handler + 'static> {
    shared: &'a Arc<Shared<H>>,
    asleep: Cell<bool>,
}

impl<H: Handler + 'static> Turn<'_, H> {
    fn will_block(&self) {
        if !self.asleep.replace(true) {
            self.shared.pool.fall_asleep(&|seat| spawn(self.shared, seat));
        }
    }
}

impl<H: Handler + 'static> Shared<H> {
    fn serve(&self, turn: &Turn<'_, H>, message: &[u8], space: &mut [u8]) {
        let (header, op) = match decode(message) {
            Ok(request) => request,
            Err(error) => return self.refuse(error),
        };
        self.counts.add(header.opcode);
        let mut reply = ReplyBuf::new(space);
        let result = match op {
            // We never ask for cached data.
            Op::NotifyReply { .. } => return,
            // ENOSYS once, and the kernel sends no more of them: nothing here is worth cutting short.
            Op::Interrupt { .. } | Op::Unknown => Err(Errno::NOSYS),
            Op::Init(_) => Err(Errno::PROTO),
            _ => match self.primer.answer(&header, &op, &mut reply) {
                Some(answer) => answer,
                None => self.handle(turn, header, op, &mut reply),
            },
        };
        if op.wants_reply() {
            self.answer(&header, result.map(|()| reply.payload()));
        }
    }

    fn handle(
        &self,
        turn: &Turn<'_, H>,
        header: Header,
        op: Op<'_>,
        reply: &mut ReplyBuf<'_>,
    ) -> Result<(), Errno> {
        let will_block = || turn.will_block();
        let request = Request { header, turn: Some(&will_block) };
        catch_unwind(AssertUnwindSafe(|| self.handler.handle(&request, op, reply))).unwrap_or_else(|_| {
            log::error!("the handler of FUSE opcode {} panicked; answering EIO", header.opcode);
            Err(Errno::IO)
        })
    }

    fn answer(&self, header: &Header, result: Result<&[u8], Errno>) {
        let Err(error) = self.connection.reply(header.unique, result) else { return };
        if let Ok(payload) = result {
            self.handler.undelivered(header, &mut reply::references(header.opcode, payload));
        }
        if let SendError::Refused(errno) = error {
            log::error!("the kernel refused our reply to FUSE opcode {}: {errno}", header.opcode);
        }
    }

    fn refuse(&self, error: DecodeError) {
        log::error!("{error}");
        if let DecodeError::Body { header, .. } = error {
            let _ = self.connection.reply(header.unique, Err(Errno::PROTO));
        }
    }
}
