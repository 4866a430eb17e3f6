//! Pages that nobody shows any more, for the next who needs one.
use bento_api::{BLOCK, Bytes};
use parking_lot::Mutex;
use std::sync::Arc;

/// A pool of pages. Their content is undefined.
pub(super) struct Pages {
    idle: Mutex<Vec<Arc<Bytes>>>,
    most: usize,
    zero: Arc<Bytes>,
}

/// A new page.
pub(super) fn new_page() -> Arc<Bytes> {
    Arc::new([0; BLOCK])
}

impl Pages {
    /// A pool that keeps at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { idle: Mutex::new(Vec::with_capacity(most)), most, zero: new_page() }
    }

    /// The page of zeros; shared, so nobody ever changes it.
    pub(super) fn zero(&self) -> Arc<Bytes> {
        self.zero.clone()
    }

    /// A page that is the caller's alone.
    pub(super) fn take(&self) -> Arc<Bytes> {
        let idle = self.idle.lock().pop();
        idle.unwrap_or_else(new_page)
    }

    /// Fills up a reserve to `count` pages.
    pub(super) fn top_up(&self, reserve: &mut Vec<Arc<Bytes>>, count: usize) {
        let missing = count.saturating_sub(reserve.len());
        if missing == 0 {
            return;
        }
        let mut idle = self.idle.lock();
        let kept = idle.len() - missing.min(idle.len());
        reserve.extend(idle.drain(kept..));
        drop(idle);
        while reserve.len() < count {
            reserve.push(new_page());
        }
    }

    /// Takes a page back, unless somebody still shows it.
    pub(super) fn give_back(&self, mut page: Arc<Bytes>) {
        if Arc::get_mut(&mut page).is_some() {
            let mut idle = self.idle.lock();
            if idle.len() < self.most {
                idle.push(page);
            }
        }
    }
}
