//! The formats one number at a time, from their definitions and not from the code.

use half::{bf16, f16};

/// The bfloat16 that is nearest to a number, ties to even.
pub fn nearest_bf16(x: f32) -> u16 {
    if x.is_nan() { 0x7fc0 } else { bf16::from_f32(x).to_bits() }
}

/// The float16 that is nearest to a number, ties to even.
pub fn nearest_f16(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) as u16 & 0x8000;
    if x.is_nan() { sign | 0x7e00 } else { f16::from_f32(x).to_bits() }
}

/// What the dither of one tensor in one step follows from.
pub fn key([low, high]: [u32; 2], step: u64, tensor: u32) -> u32 {
    let wide = u128::from(low)
        + u128::from(high) * 0x9e37_79b1
        + u128::from(step) * 0x91e1_0da5
        + u128::from(tensor) * 0xc13f_a9a9;
    wide as u32
}

/// The dither of an element.
pub fn dither(key: u32, element: usize) -> u32 {
    let mut b = (element as u32 >> 5).wrapping_add(key);
    b = b.wrapping_mul(0x9e37_79b1);
    b ^= b >> 15;
    b = b.wrapping_mul(0x85eb_ca77);
    b ^= b >> 13;
    b.wrapping_add((element as u32 & 31).wrapping_mul(0x9e37_79b9))
}

/// Momentum in 8 bits: values and scales.
#[derive(Clone, Debug, PartialEq)]
pub struct Eight {
    pub values: Vec<i8>,
    pub scales: Vec<u8>,
}

impl Eight {
    pub fn zeroed(length: usize) -> Self {
        Eight { values: vec![0; length], scales: vec![0; length.div_ceil(32)] }
    }

    pub fn encoded(x: &[f32], key: u32) -> Self {
        let mut eight = Eight::zeroed(x.len());
        for (j, block) in x.chunks(32).enumerate() {
            let magnitude = |x: &f32| (x.to_bits() & 0x7fff_ffff) as i32;
            let finite = |x: &f32| magnitude(x) <= 0x7f7e_0000;
            let largest = block.iter().filter(|x| finite(x)).map(magnitude).max().unwrap_or(0);
            let scale = ((largest + 0x1_ffff) >> 23).max(24) - 6;
            eight.scales[j] = scale as u8;
            let inverse = 2_f64.powi(127 - scale);
            for (i, x) in block.iter().enumerate() {
                let at = 32 * j + i;
                let odd = (dither(key, at) as i32 >> 16) | 1;
                let d = f64::from(odd) / 65536.0;
                // As in float32: the product is exact or does not matter, and the sum is rounded once.
                let z = ((f64::from(*x) * inverse) + d) as f32;
                eight.values[at] =
                    if finite(x) { f64::from(z).round_ties_even() as i8 } else { -128 };
            }
        }
        eight
    }

    pub fn decoded(&self, i: usize) -> f32 {
        let unit = f32::from_bits(u32::from(self.scales[i / 32]) << 23);
        if self.values[i] == -128 { f32::NAN } else { f32::from(self.values[i]) * unit }
    }
}

/// The master of a bfloat16 and a correction in units of the last place of float32.
pub fn join(param: u16, correction: i32) -> f32 {
    let correction = match param & 0x7fff {
        0 => correction.max(0),
        0x7f80 => correction.min(0),
        _ => correction,
    };
    f32::from_bits((u32::from(param) << 16).wrapping_add_signed(correction))
}

/// The parameter and the 16-bit correction of a master.
pub fn split(master: f32) -> (u16, i16) {
    let u = master.to_bits();
    if master.is_nan() {
        return ((u >> 16) as u16 | 0x40, 0);
    }
    ((u.wrapping_add(0x8000) >> 16) as u16, u as i16)
}

/// The parameter and the 8-bit correction of a master, dithered.
pub fn split24(master: f32, key: u32, element: usize) -> (u16, i8) {
    let u = master.to_bits();
    if master.is_nan() {
        return ((u >> 16) as u16 | 0x40, 0);
    }
    let w = dither(key.wrapping_add(0x7f4a_7c15), element);
    let v = u.wrapping_add(w >> 24) & !0xff;
    ((v.wrapping_add(0x8000) >> 16) as u16, (v >> 8) as i8)
}
