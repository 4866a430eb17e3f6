//! Requests for the device, as the core lists them.
use super::pages::{Pages, new_page};
use crate::device::Request;
use bento_api::{BlockNo, Bytes, IoList};
use std::sync::Arc;

/// Blocks that one step usually builds: a record's header, a log header.
const RESERVE: usize = 2;

/// A list of requests, in order.
#[derive(Default)]
pub struct UserIoList {
    requests: Vec<Request>,
    /// Pages for blocks that are built in the list.
    reserve: Vec<Arc<Bytes>>,
}

impl UserIoList {
    /// The requests.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The requests, for who submits them.
    pub(crate) fn requests_mut(&mut self) -> &mut [Request] {
        &mut self.requests
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn stock(&mut self, pages: &Pages) {
        pages.top_up(&mut self.reserve, RESERVE);
    }

    pub(super) fn clear(&mut self) {
        self.requests.clear();
    }

    pub(super) fn write(&mut self, at: BlockNo, page: Arc<Bytes>) {
        self.requests.push(Request::Write(at, page));
    }
}

impl IoList for UserIoList {
    fn fill(&mut self, at: BlockNo, build: impl FnOnce(&mut Bytes)) {
        let mut page = self.reserve.pop().unwrap_or_else(new_page);
        build(Arc::make_mut(&mut page));
        self.write(at, page);
    }

    fn flush(&mut self) {
        self.requests.push(Request::Flush);
    }
}
