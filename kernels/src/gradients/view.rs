//! Gradients of any supported type.

use crate::views::elements;
use half::{bf16, f16};
use ndarray::{ArrayView1, ArrayViewMut1};

/// A gradient of any supported type, in the form that each type has.
#[derive(Clone, Copy, Debug)]
pub enum GradientView<F32, F64, F16, Bf16> {
    /// float32
    F32(F32),
    /// float64
    F64(F64),
    /// float16
    F16(F16),
    /// bfloat16
    Bf16(Bf16),
}

/// A gradient that is only read, contiguous.
pub type Read<'a> = GradientView<
    ArrayView1<'a, f32>,
    ArrayView1<'a, f64>,
    ArrayView1<'a, f16>,
    ArrayView1<'a, bf16>,
>;

/// An element of one of the types that gradients have.
pub trait Kind: Sized {
    /// The elements of a gradient, if it is of this type.
    fn elements<'a>(gradient: &Read<'a>) -> Option<&'a [Self]>;
}

macro_rules! kind {
    ($type:ty, $name:ident) => {
        impl Kind for $type {
            fn elements<'a>(gradient: &Read<'a>) -> Option<&'a [Self]> {
                match gradient {
                    GradientView::$name(view) => Some(elements(view)),
                    _ => None,
                }
            }
        }
    };
}
kind!(f32, F32);
kind!(f64, F64);
kind!(f16, F16);
kind!(bf16, Bf16);

/// A gradient that is written, contiguous.
pub type Write<'a> = GradientView<
    ArrayViewMut1<'a, f32>,
    ArrayViewMut1<'a, f64>,
    ArrayViewMut1<'a, f16>,
    ArrayViewMut1<'a, bf16>,
>;

/// Does the same with a gradient of any type; `wrap` makes one of that type.
macro_rules! dispatch {
    ($gradient:expr, $view:ident => $body:expr) => {
        match $gradient {
            $crate::gradients::view::GradientView::F32($view) => $body,
            $crate::gradients::view::GradientView::F64($view) => $body,
            $crate::gradients::view::GradientView::F16($view) => $body,
            $crate::gradients::view::GradientView::Bf16($view) => $body,
        }
    };
    ($gradient:expr, $wrap:ident, $view:ident => $body:expr) => {
        $crate::gradients::view::dispatch!(@ $gradient, $wrap, $view => $body; F32 F64 F16 Bf16)
    };
    (@ $gradient:expr, $wrap:ident, $view:ident => $body:expr; $($type:ident)*) => {
        match $gradient {
            $($crate::gradients::view::GradientView::$type($view) => {
                let $wrap = $crate::gradients::view::GradientView::$type;
                $body
            })*
        }
    };
}
pub(crate) use dispatch;
