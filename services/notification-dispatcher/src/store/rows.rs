//! Statements over many rows. Neither engine's arrays are used; a list of rows is written out as placeholders, in a few
//! fixed sizes, so that the number of different statements stays small.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

/// Sizes in which lists are cut, largest first.
const SIZES: [usize; 7] = [128, 32, 16, 8, 4, 2, 1];

/// Cuts `items` into pieces of the fixed sizes.
pub(super) fn pieces<T>(mut items: &[T]) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    for size in SIZES {
        while items.len() >= size {
            let (piece, rest) = items.split_at(size);
            pieces.push(piece);
            items = rest;
        }
    }
    pieces
}

/// Texts that were written already: one for each size of each statement.
static WRITTEN: LazyLock<RwLock<HashMap<[usize; 3], Arc<str>>>> = LazyLock::new(RwLock::default);

/// `($3, $4), ($5, $6)`: `count` rows of `columns` placeholders, the first of which is `$first`.
pub(super) fn values(count: usize, columns: usize, first: usize) -> Arc<str> {
    let key = [count, columns, first];
    if let Some(known) = WRITTEN.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Arc::clone(known);
    }
    let text: Arc<str> = write_out(count, columns, first).into();
    WRITTEN.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&text));
    text
}

fn write_out(count: usize, columns: usize, first: usize) -> String {
    let mut text = String::with_capacity(count * columns * 5);
    for row in 0..count {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}${}", first + row * columns + column);
        }
        text.push(')');
    }
    text
}

/// `($1, $2, $3)`: a list for `IN`.
pub(super) fn list(count: usize, first: usize) -> Arc<str> {
    values(1, count, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_fixed_sizes_and_lose_nothing() {
        let items: Vec<u32> = (0..300).collect();
        let cut = pieces(&items);
        assert_eq!(cut.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [128, 128, 32, 8, 4]);
        assert_eq!(cut.concat(), items);
        assert!(pieces::<u32>(&[]).is_empty());
    }

    #[test]
    fn placeholders_are_numbered_through() {
        assert_eq!(&*values(2, 3, 2), "($2, $3, $4), ($5, $6, $7)");
        assert_eq!(&*list(3, 1), "($1, $2, $3)");
    }
}
