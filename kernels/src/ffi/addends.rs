//! The table of gradients that are added to those of rows.

use super::gradient_views::view;
use super::layout::{CallRow, Row};
use super::pointers::{pointer, read};
use super::row_checks::check;
use crate::error::Error;
use crate::gradients::addends::Addends;
use crate::gradients::{GradientView, Read};
use ndarray::ArrayView1;

/// The gradients that are added to those of rows from one on.
#[derive(Debug)]
pub struct AddendTable<'a> {
    /// Row after row.
    gradients: Vec<Read<'a>>,
    /// How many each row has.
    lists: usize,
    /// The first row.
    from: usize,
}

impl<'a> AddendTable<'a> {
    /// Reads the table that a call row names, if it does.
    ///
    /// # Safety
    /// As for [`AddendTable::read`].
    pub unsafe fn of_call(
        &CallRow { addends, lists, .. }: &CallRow,
        rows: &[Row],
        from: usize,
    ) -> Result<Option<Self>, Error> {
        if addends == 0.0 {
            return Ok(None);
        }
        // SAFETY: the caller's promise.
        unsafe { Self::read(pointer(addends as u64), lists as usize, rows, from) }.map(Some)
    }

    /// Reads and checks a table. It has `lists` words for each row, also for those before the first one.
    ///
    /// # Safety
    /// The table is valid for reads, and each address in it is 0 or valid for reads of a gradient like
    /// that of its row, for as long as `'a`.
    pub unsafe fn read(
        table: *const u64,
        lists: usize,
        rows: &[Row],
        from: usize,
    ) -> Result<Self, Error> {
        // SAFETY: the caller's promise.
        let words = unsafe { read(table, lists.saturating_mul(rows.len()), "addends")? };
        let mut gradients = Vec::with_capacity(words.len() - lists * from);
        for (index, row) in rows.iter().enumerate().skip(from) {
            for &grad in &words[index * lists..][..lists] {
                if row.is_idle() || grad == 0 {
                    gradients.push(GradientView::F32(ArrayView1::from(&[])));
                    continue;
                }
                let row = Row { grad, ..*row };
                check(index, &row)?;
                // SAFETY: checked, and the caller vouches for the address.
                gradients.push(unsafe { view(&row) });
            }
        }
        Ok(AddendTable { gradients, lists, from })
    }

    /// Those of a row, by its number in the whole table of rows.
    pub fn of(&self, number: usize) -> Addends<'_> {
        Addends::new(&self.gradients[(number - self.from) * self.lists..][..self.lists])
    }
}
