//! A vector of at most `N` items that never allocates.
use crate::Errno;

/// At most `N` values, in place.
#[derive(Clone, Copy, Debug)]
pub struct Few<T, const N: usize> {
    items: [Option<T>; N],
    len: usize,
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<T, const N: usize> Few<T, N> {
    /// None yet. A constant can be copied to where it is to be without passing over a stack.
    pub const EMPTY: Self = Self { items: [const { None }; N], len: 0 };

    /// Appends; says where. A full vector is an outgrown capacity.
    pub fn push(&mut self, item: T) -> Result<usize, Errno> {
        let at = self.len;
        *self.items.get_mut(at).ok_or(Errno::Capacity)? = Some(item);
        self.len = at + 1;
        Ok(at)
    }

    /// Whether a push would fail.
    pub const fn is_full(&self) -> bool {
        self.len == N
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The item at a place.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.items.get(at)?.as_ref()
    }

    /// The item at a place.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.items.get_mut(at)?.as_mut()
    }

    /// Takes an item out; the others keep their places.
    pub fn take(&mut self, at: usize) -> Option<T> {
        self.items.get_mut(at)?.take()
    }

    /// All, in the order they were pushed.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.items.iter().take(self.len).flatten()
    }

    /// All, in the order they were pushed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut().take(self.len).flatten()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.items.iter_mut().take(self.len).for_each(|item| *item = None);
        self.len = 0;
    }
}
