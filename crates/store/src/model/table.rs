//! One table: rows by key, and what is needed to take a transaction back.

use std::collections::BTreeMap;

/// Rows in the order of their keys. Writes can be undone until they are settled.
#[derive(Debug, Clone)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    undo: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), undo: Vec::new() }
    }
}

impl<K: Ord + Copy, V: Clone> Table<K, V> {
    /// The row of that key.
    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.rows.get(&key)
    }

    /// Whether there is such a row.
    pub(super) fn has(&self, key: K) -> bool {
        self.rows.contains_key(&key)
    }

    /// Every row, in the order of the keys.
    pub(super) fn rows(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.rows.values()
    }

    /// Every key and row from `from` on.
    pub(super) fn from(&self, from: K) -> impl Iterator<Item = (&K, &V)> {
        self.rows.range(from..)
    }

    /// Writes a row, new or not.
    pub(super) fn put(&mut self, key: K, row: V) {
        let older = self.rows.insert(key, row);
        self.undo.push((key, older));
    }

    /// Keeps what was written since the last time.
    pub(super) fn settle(&mut self) {
        self.undo.clear();
    }

    /// Takes back what was written since the last time.
    pub(super) fn undo(&mut self) {
        while let Some((key, older)) = self.undo.pop() {
            match older {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}
