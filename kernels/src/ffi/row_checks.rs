//! Checks of one row: its dtype, its format and its addresses.

use super::layout::{Row, dtype, format};
use super::pointers::address;
use crate::error::Error;
use crate::step::fail;

/// Checks the dtype and the format of a row that is not idle, and that its addresses are aligned and not
/// null.
#[inline(always)]
pub fn check(index: usize, row: &Row) -> Result<(), Error> {
    match row.code() {
        dtype::F32 => check_addresses::<f32, f32, f32>(index, row),
        dtype::F64 => check_addresses::<f64, f64, f64>(index, row),
        _ => check_format(index, row),
    }
}

#[inline(never)]
fn check_format(index: usize, row: &Row) -> Result<(), Error> {
    use dtype::{BF16_PER_OP, F16_PER_OP, F32};
    use format::{GRAD_F32, MOMENTUM8};
    check_flags(index, row)?;
    match (row.dtype(), row.has(GRAD_F32), row.has(MOMENTUM8)) {
        (F32, ..) => return check_addresses::<f32, f32, u8>(index, row),
        (F16_PER_OP | BF16_PER_OP, ..) => check_addresses::<u16, u16, u16>(index, row)?,
        (_, false, false) => check_addresses::<u16, u16, f32>(index, row)?,
        (_, false, true) => check_addresses::<u16, u16, u8>(index, row)?,
        (_, true, false) => check_addresses::<u16, f32, f32>(index, row)?,
        (_, true, true) => check_addresses::<u16, f32, u8>(index, row)?,
    }
    check_master(index, row)
}

/// Checks that a row's flags go with its dtype and with each other.
fn check_flags(index: usize, row: &Row) -> Result<(), Error> {
    use dtype::{BF16, BF16_PER_OP, BF16_STOCHASTIC, F16, F16_PER_OP, F16_STOCHASTIC, F32, F64};
    use format::{GRAD_F32, MOMENTUM8, SPLIT, SPLIT24};
    let (dtype, flags) = (row.dtype(), row.format());
    let possible = match dtype {
        F32 => MOMENTUM8,
        F16 | F16_STOCHASTIC | BF16_STOCHASTIC => GRAD_F32 | MOMENTUM8,
        BF16 => GRAD_F32 | MOMENTUM8 | SPLIT | SPLIT24,
        F64 | F16_PER_OP | BF16_PER_OP => 0,
        _ => return Err(Error::Table(format!("Cannot step row {index}: dtype {dtype}"))),
    };
    let both = SPLIT | SPLIT24;
    if flags & !possible != 0 || flags & both == both {
        let text = format!("Cannot step row {index}: dtype {dtype} with the format {flags:#x}");
        return Err(Error::Table(text));
    }
    Ok(())
}

/// Checks the address of what belongs to a parameter of a 16-bit type.
fn check_master(index: usize, row: &Row) -> Result<(), Error> {
    if row.has(format::SPLIT) {
        address::<i16>(index, "correction", row.master)?;
    } else if row.has(format::SPLIT24) {
        address::<i8>(index, "correction", row.master)?;
    } else if row.master != 0 {
        if [dtype::F16_PER_OP, dtype::BF16_PER_OP].contains(&row.dtype()) {
            return Err(fail(index, "its dtype has no master copy"));
        }
        address::<f32>(index, "master copy", row.master)?;
    }
    Ok(())
}

/// Checks the addresses of a row that is stored as `P`, its gradient as `G`, and its buffer as `B`.
#[inline(always)]
fn check_addresses<P, G, B>(index: usize, row: &Row) -> Result<(), Error> {
    address::<P>(index, "data", row.data)?;
    address::<G>(index, "grad", row.grad)?;
    if row.buffer != 0 {
        address::<B>(index, "buffer", row.buffer)?;
    }
    Ok(())
}
