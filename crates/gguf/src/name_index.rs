//! Finds an entry of a list by its name, without holding the names twice.

/// Positions in a list, in the order of the names there.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct NameIndex(Vec<usize>);

impl NameIndex {
    /// Indexes a list; a name that stands there twice is an error, with the position of the second.
    pub(crate) fn build<T>(items: &[T], name: impl Fn(&T) -> &str) -> Result<Self, usize> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|&i| name(&items[i]));
        match order.array_windows().find(|[a, b]| name(&items[*a]) == name(&items[*b])) {
            Some([_, second]) => Err(*second),
            None => Ok(Self(order)),
        }
    }

    /// The entry called `wanted`.
    pub(crate) fn find<'a, T>(
        &self,
        items: &'a [T],
        name: impl Fn(&T) -> &str,
        wanted: &str,
    ) -> Option<&'a T> {
        let found = self.0.binary_search_by(|&i| name(&items[i]).cmp(wanted)).ok()?;
        items.get(self.0[found])
    }
}
