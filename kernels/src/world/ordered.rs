//! Sums of gradients over the ranks, in the order of the ranks, and the totals of what comes out.

use super::staging::{elements, elements_mut};
use crate::dtype::{Element, RoundEveryOp, TILE};
use crate::gradients::addends::Addends;
use crate::gradients::norm::{BLOCK, How, Total, block_total};
use crate::gradients::order::{Largest, Magnitudes, Measure, Order, Squares};
use crate::gradients::view::{GradientView, Kind, Read};
use crate::lanes::Real;
use crate::simd::Level;
use half::{bf16, f16};
use ndarray::ArrayView1;
use pulp::bytemuck::Pod;

/// How gradients are stored, and the type of their sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// float32
    F32,
    /// float64
    F64,
    /// float16, summed up in float32
    F16,
    /// bfloat16, summed up in float32
    Bf16,
    /// float16, each sum rounded
    F16PerOp,
    /// bfloat16, each sum rounded
    Bf16PerOp,
}

/// How sums are measured.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Which norm is taken.
    pub order: Order,
    /// What they are multiplied by before.
    pub scale: f64,
    /// How it is computed.
    pub level: Level,
}

impl Form {
    /// Bytes of an element of a gradient.
    pub fn gradient_bytes(self) -> usize {
        match self {
            Form::F32 => 4,
            Form::F64 => 8,
            _ => 2,
        }
    }

    /// Bytes of an element of a sum.
    pub fn sum_bytes(self) -> usize {
        match self {
            Form::F32 | Form::F16 | Form::Bf16 => 4,
            Form::F64 => 8,
            Form::F16PerOp | Form::Bf16PerOp => 2,
        }
    }

    /// Adds up the parts of all ranks, in this order.
    pub fn add_up(self, level: Level, parts: &[&[u8]], sums: &mut [u8]) {
        match self {
            Form::F32 => add_up::<f32, f32, f32>(level, parts, sums, GradientView::F32),
            Form::F64 => add_up::<f64, f64, f64>(level, parts, sums, GradientView::F64),
            Form::F16 => add_up::<f16, f32, f32>(level, parts, sums, GradientView::F16),
            Form::Bf16 => add_up::<bf16, f32, f32>(level, parts, sums, GradientView::Bf16),
            Form::F16PerOp => {
                add_up::<f16, RoundEveryOp<f16>, f16>(level, parts, sums, GradientView::F16);
            }
            Form::Bf16PerOp => {
                add_up::<bf16, RoundEveryOp<bf16>, bf16>(level, parts, sums, GradientView::Bf16);
            }
        }
    }

    /// The totals of the sums times a scale, block by block.
    pub fn totals(self, sums: &[u8], Norm { order, scale, level }: Norm) -> Vec<Total> {
        match order {
            Order::One => self.measure(sums, How { measure: Magnitudes, scale, level }),
            Order::Two => self.measure(sums, How { measure: Squares, scale, level }),
            Order::Infinity => self.measure(sums, How { measure: Largest, scale, level }),
        }
    }

    fn measure<M: Measure>(self, sums: &[u8], how: How<M>) -> Vec<Total> {
        match self {
            Form::F32 | Form::F16 | Form::Bf16 => {
                elements::<f32>(sums).chunks(BLOCK).map(|b| block_total(b, None, how)).collect()
            }
            Form::F64 => {
                elements::<f64>(sums).chunks(BLOCK).map(|b| block_total(b, None, how)).collect()
            }
            Form::F16PerOp => {
                elements::<f16>(sums).chunks(BLOCK).map(|b| block_total(b, None, how)).collect()
            }
            Form::Bf16PerOp => {
                elements::<bf16>(sums).chunks(BLOCK).map(|b| block_total(b, None, how)).collect()
            }
        }
    }
}

fn add_up<'a, H, T, O>(
    level: Level,
    parts: &[&'a [u8]],
    sums: &mut [u8],
    wrap: impl Fn(ArrayView1<'a, H>) -> Read<'a>,
) where
    H: Element<T> + Kind + Pod,
    T: Real,
    O: Element<T> + Pod,
{
    let (first, others) = parts.split_first().expect("there is a rank");
    let others: Vec<Read<'_>> =
        others.iter().map(|part| wrap(elements::<H>(part).into())).collect();
    let addends = Addends::new(&others);
    let mut tile = [T::from_f64(0.0); TILE];
    let sums = elements_mut::<O>(sums).chunks_mut(TILE);
    for (i, (first, sums)) in elements::<H>(first).chunks(TILE).zip(sums).enumerate() {
        let tile = &mut tile[..sums.len()];
        H::load(level, first, tile);
        addends.add::<H, T>(level, i * TILE, tile, false);
        O::store(level, tile, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::bytemuck::{cast_slice, cast_slice_mut};

    #[test]
    fn float32_is_added_up_in_the_order_of_the_ranks() {
        let n = TILE + 5;
        let parts: Vec<Vec<f32>> = [1e8, 3.0, -1e8, 5.0]
            .map(|x: f32| (0..n).map(|i| x * (i % 7 + 1) as f32).collect())
            .into();
        let bytes: Vec<&[u8]> = parts.iter().map(|part| cast_slice(part)).collect();
        let mut sums = vec![0.0_f32; n];
        Form::F32.add_up(Level::best(), &bytes, cast_slice_mut(&mut sums));
        for i in 0..n {
            let expected = ((parts[0][i] + parts[1][i]) + parts[2][i]) + parts[3][i];
            assert_eq!(sums[i], expected);
        }
    }

    #[test]
    fn sixteen_bits_are_added_up_in_float32_unless_every_operation_rounds() {
        let parts = [1.0_f32, 1.0 / 256.0, 1.0 / 256.0].map(|x| vec![bf16::from_f32(x); 3]);
        let bytes: Vec<&[u8]> = parts.iter().map(|part| cast_slice(part)).collect();
        let mut wide = [0.0_f32; 3];
        Form::Bf16.add_up(Level::best(), &bytes, cast_slice_mut(&mut wide));
        assert_eq!(wide, [1.0 + 2.0 / 256.0; 3]);
        let mut narrow = [bf16::ZERO; 3];
        Form::Bf16PerOp.add_up(Level::best(), &bytes, cast_slice_mut(&mut narrow));
        assert_eq!(narrow, [bf16::ONE; 3]); // each half-way sum goes to the even neighbor
    }
}
