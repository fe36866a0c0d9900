//! The numbers of [`super::layout`], for the test that compares them with TypeScript's.

use super::layout::{
    ABI, CallRow, DEVICE, DEVICE_DTYPES, FLAG_DECOUPLED, FLAG_MAXIMIZE, FLAG_NESTEROV, FLAG_SIGN,
    FLAG_ZERO, FORMAT_BITS, GroupRow, RequestRow, Row, STATE_BITS, SparseRow, ViewRow, VjpRow,
    WORD, device_dtype, dtype, format, state,
};
use super::pointers::write_text;
use crate::error::Error;
use crate::gradients::norm;
use crate::vjp;
use std::fmt::Write;
use std::mem::offset_of;

/// `uint32_t descent_layout(uint8_t *out, uint32_t capacity)`: the numbers of this module and of what
/// has to be computed in the same order, as JSON. Offsets and sizes of rows are in words.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_layout(out: *mut u8, capacity: u32) -> u32 {
    // SAFETY: the caller vouches for `out`.
    unsafe { write_text(&layout(), out, capacity) }
}

/// The words of a row and where its fields are.
macro_rules! fields {
    ($row:ty, $($name:literal: $field:ident),*) => {
        [("words", size_of::<$row>() / WORD), $(($name, offset_of!($row, $field) / WORD)),*]
    };
}

fn layout() -> String {
    let sections: [(&str, &[(&str, usize)]); 14] = [
        ("row", &row_fields()),
        ("sparseRow", &sparse_fields()),
        ("groupRow", &group_fields()),
        ("callRow", &call_fields()),
        ("vjpRow", &vjp_fields()),
        ("viewRow", &fields!(ViewRow, "handle": handle, "offset": offset, "length": length)),
        ("requestRow", &request_fields()),
        ("states", &states()),
        ("dtypes", &dtypes()),
        ("formats", &formats()),
        ("devices", &devices()),
        ("statuses", &statuses()),
        ("norm", &[("block", norm::BLOCK), ("lanes", norm::LANES)]),
        ("vjp", &[("chunk", vjp::CHUNK), ("lanes", vjp::LANES)]),
    ];
    let mut text = format!(r#"{{"abi":{ABI}"#);
    for (name, numbers) in sections {
        let number = |(name, value): &(&str, usize)| format!(r#""{name}":{value}"#);
        let numbers: Vec<_> = numbers.iter().map(number).collect();
        let _ = write!(text, r#","{name}":{{{}}}"#, numbers.join(",")); // a string takes any text
    }
    text + "}"
}

fn row_fields() -> [(&'static str, usize); 9] {
    let [words, data, grad, buffer, master, length, kind] = fields!(
        Row, "data": data, "grad": grad, "buffer": buffer, "master": master, "length": length,
        "kind": kind
    );
    let state_bits = ("stateBits", STATE_BITS as usize);
    let format_bits = ("formatBits", FORMAT_BITS as usize);
    [words, data, grad, buffer, master, length, kind, state_bits, format_bits]
}

fn sparse_fields() -> [(&'static str, usize); 6] {
    fields!(
        SparseRow, "matrix": matrix, "indices": indices, "count": count, "columns": columns,
        "used": used
    )
}

fn group_fields() -> [(&'static str, usize); 11] {
    let [words, lr, momentum, dampening, decay, flags, coefficient] = fields!(
        GroupRow, "lr": lr, "momentum": momentum, "dampening": dampening,
        "weightDecay": weight_decay, "flags": flags, "coefficient": coefficient
    );
    let nesterov = ("nesterov", FLAG_NESTEROV as usize);
    let maximize = ("maximize", FLAG_MAXIMIZE as usize);
    let sign = ("sign", FLAG_SIGN as usize);
    let decoupled = ("decoupled", FLAG_DECOUPLED as usize);
    [words, lr, momentum, dampening, decay, flags, coefficient, nesterov, maximize, sign, decoupled]
}

fn call_fields() -> [(&'static str, usize); 13] {
    let [words, scale, limit, flags, low, high, counter, addends, lists, averages, weight, divisor] = fields!(
        CallRow, "inverseScale": scale, "maxValue": limit, "flags": flags, "seedLow": seed_low,
        "seedHigh": seed_high, "counter": counter, "addends": addends, "lists": lists,
        "averages": averages, "averageWeight": average_weight, "averageDivisor": average_divisor
    );
    let zero = ("zero", FLAG_ZERO as usize);
    [
        words, scale, limit, flags, low, high, counter, addends, lists, averages, weight, divisor,
        zero,
    ]
}

fn vjp_fields() -> [(&'static str, usize); 12] {
    fields!(
        VjpRow, "param": param, "grad": grad, "buffer": buffer,
        "paramCotangent": param_cotangent, "bufferCotangent": buffer_cotangent,
        "dParam": d_param, "dGrad": d_grad, "dBuffer": d_buffer,
        "length": length, "dtype": dtype, "state": state
    )
}

fn request_fields() -> [(&'static str, usize); 8] {
    fields!(
        RequestRow, "inverseScale": inverse_scale, "maxValue": max_value, "maxNorm": max_norm,
        "normType": norm_type, "checkFinite": check_finite, "perGroup": per_group,
        "zeroGrad": zero_grad
    )
}

fn states() -> [(&'static str, usize); 4] {
    use state::{FIRST, LATER, MAYBE, SKIP};
    let states = [("skip", SKIP), ("first", FIRST), ("later", LATER), ("maybe", MAYBE)];
    states.map(|(name, number)| (name, number as usize))
}

fn dtypes() -> [(&'static str, usize); 8] {
    use dtype::*;
    let dtypes = [
        ("float32", F32),
        ("float64", F64),
        ("float16", F16),
        ("bfloat16", BF16),
        ("float16 torch", F16_PER_OP),
        ("bfloat16 torch", BF16_PER_OP),
        ("float16 stochastic", F16_STOCHASTIC),
        ("bfloat16 stochastic", BF16_STOCHASTIC),
    ];
    dtypes.map(|(name, number)| (name, number as usize))
}

fn formats() -> [(&'static str, usize); 4] {
    use format::{GRAD_F32, MOMENTUM8, SPLIT, SPLIT24};
    let flags =
        [("gradF32", GRAD_F32), ("momentum8", MOMENTUM8), ("split", SPLIT), ("split24", SPLIT24)];
    flags.map(|(name, flag)| (name, flag as usize))
}

fn devices() -> [(&'static str, usize); 4] {
    use device_dtype::{F16, F32};
    let numbers =
        [("first", DEVICE), ("dtypes", DEVICE_DTYPES), ("float32", F32), ("float16", F16)];
    numbers.map(|(name, number)| (name, number as usize))
}

/// The statuses that the caller tells from the others.
fn statuses() -> [(&'static str, usize); 3] {
    type Kind = fn(String) -> Error;
    let kinds: [(&str, Kind); 3] = [
        ("setting", Error::Setting),
        ("unavailable", Error::Unavailable),
        ("memory", Error::Memory),
    ];
    kinds.map(|(name, kind)| (name, kind(String::new()).status() as usize))
}
