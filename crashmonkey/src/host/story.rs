//! What happened so far, shared between who runs operations and who sees their transactions join.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bento_api::Time;
use rustix::io::Errno;

use super::device::RecordingDevice;
use crate::jlang::Op;
use crate::oracle::{History, OpId, Stream};

#[derive(Debug, Default)]
struct Inner {
    history: History,
    current: Option<OpId>,
    now: Time,
}

/// The history in the making, tied to the recorder's log by marks.
#[derive(Debug)]
pub struct Story {
    device: Arc<RecordingDevice>,
    inner: Mutex<Inner>,
}

impl Story {
    /// Nothing happened yet.
    pub fn new(device: Arc<RecordingDevice>, now: Time) -> Story {
        Story { device, inner: Mutex::new(Inner { now, ..Inner::default() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, inner: &Inner) {
        self.device.mark(inner.history.events.len());
    }

    /// An operation begins; it is the one that runs.
    pub fn start(&self, stream: Stream, op: Op, time: Time) -> OpId {
        let inner = &mut *self.inner();
        let id = inner.history.start(stream, op, time);
        (inner.current, inner.now) = (Some(id), time);
        self.mark(inner);
        id
    }

    /// The operation that runs from now on; none is the host's own work.
    pub fn enter(&self, op: Option<OpId>) {
        let inner = &mut *self.inner();
        inner.current = op;
        if let Some(issued) = op.and_then(|op| inner.history.issued(op)) {
            inner.now = issued.time;
        }
    }

    /// A transaction of the running operation joined.
    pub fn join(&self) {
        let inner = &mut *self.inner();
        if let Some(op) = inner.current {
            inner.history.join(op);
            self.mark(inner);
        }
    }

    /// An operation ended.
    pub fn end(&self, op: OpId, result: Result<Option<u64>, Errno>) {
        let inner = &mut *self.inner();
        inner.history.end(op, result);
        inner.current = None;
        self.mark(inner);
    }

    /// The time of the running operation.
    pub fn now(&self) -> Time {
        self.inner().now
    }

    /// A copy of the history.
    pub fn history(&self) -> History {
        self.inner().history.clone()
    }
}
