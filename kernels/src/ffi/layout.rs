//! The layout of every table that crosses the boundary, and of what else both sides must agree on.
//!
//! TypeScript has the same numbers; `descent_layout` returns these, and a test compares them.

use crate::rule::Hyperparameters;

/// Changes with every change of a signature or of a table's layout.
pub const ABI: u32 = 9;

/// Bytes of a word: what tables are made of.
pub const WORD: usize = size_of::<u64>();

/// A row that describes a tensor: six words, of which the last one is in two halves, the lower one first
/// as on every platform that Deno runs on.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Row {
    /// The address of the parameter.
    pub data: u64,
    /// The address of its gradient.
    pub grad: u64,
    /// The address of its momentum buffer, or 0.
    pub buffer: u64,
    /// The address of what belongs to a parameter in a 16-bit type, or 0: a float32 copy of it, or
    /// corrections.
    pub master: u64,
    /// Elements.
    pub length: u64,
    /// The dtype, above it the flags of [`format`], and above these the state.
    pub kind: u32,
    /// The index of its group.
    pub group: u32,
}

const _: () = assert!(size_of::<Row>() == 6 * WORD);

/// Bits of a row's kind below its state.
pub const STATE_BITS: u32 = 24;

/// Bits of a row's kind below the flags of its format.
pub const FORMAT_BITS: u32 = 16;

impl Row {
    /// The dtype and the flags of the format: the dtype alone where there are none.
    #[inline(always)]
    pub fn code(&self) -> u32 {
        self.kind & ((1 << STATE_BITS) - 1)
    }

    /// One of the numbers of [`dtype`], or of a device.
    #[inline(always)]
    pub fn dtype(&self) -> u32 {
        self.kind & ((1 << FORMAT_BITS) - 1)
    }

    /// The flags of [`format`].
    #[inline(always)]
    pub fn format(&self) -> u32 {
        self.code() - self.dtype()
    }

    /// Whether the row has some flags of [`format`].
    #[inline(always)]
    pub fn has(&self, flags: u32) -> bool {
        self.kind & flags != 0
    }

    /// One of the numbers of [`state`].
    #[inline(always)]
    pub fn state(&self) -> u32 {
        self.kind >> STATE_BITS
    }

    /// Whether the row has no part in a step of the CPU. Rows of devices have no flags.
    #[inline(always)]
    pub fn is_idle(&self) -> bool {
        self.state() == state::SKIP
            || self.length == 0
            || (DEVICE..1 << FORMAT_BITS).contains(&self.code())
    }

    /// Whether the row's momentum buffer has never been written.
    #[inline(always)]
    pub fn is_first(&self) -> bool {
        self.state() == state::FIRST
    }
}

/// The states of a row.
pub mod state {
    /// The row has no gradient.
    pub const SKIP: u32 = 0;
    /// The row's momentum buffer has never been written.
    pub const FIRST: u32 = 1;
    /// The row's momentum buffer is read.
    pub const LATER: u32 = 2;
    /// The row's momentum buffer is read unless every step so far was skipped, which only a device knows.
    pub const MAYBE: u32 = 3;
}

/// The dtypes of a row, and how a 16-bit one is rounded.
pub mod dtype {
    pub const F32: u32 = 0;
    pub const F64: u32 = 1;
    pub const F16: u32 = 2;
    pub const BF16: u32 = 3;
    /// float16, rounded after every operation.
    pub const F16_PER_OP: u32 = 4;
    /// bfloat16, rounded after every operation.
    pub const BF16_PER_OP: u32 = 5;
    /// float16, rounded by random bits.
    pub const F16_STOCHASTIC: u32 = 6;
    /// bfloat16, rounded by random bits.
    pub const BF16_STOCHASTIC: u32 = 7;
}

/// How a row's arrays are stored where that does not follow from its dtype.
pub mod format {
    /// The gradient of a parameter of a 16-bit type is float32.
    pub const GRAD_F32: u32 = 1 << 16;
    /// The buffer is momentum in 8 bits: as many int8 as the row has elements, zeros up to a multiple of
    /// 64 bytes, and then a scale of one byte for every 32 elements.
    pub const MOMENTUM8: u32 = 1 << 17;
    /// The master is as many int16, the lower halves of bfloat16 parameters.
    pub const SPLIT: u32 = 1 << 18;
    /// The master is as many int8, the third bytes of bfloat16 parameters.
    pub const SPLIT24: u32 = 1 << 19;
}

/// Rows from this dtype on describe tensors of devices, which `gpu` steps.
pub const DEVICE: u32 = 16;

/// How many dtypes a device has: its rows have the dtypes `DEVICE + number * DEVICE_DTYPES` and on.
pub const DEVICE_DTYPES: u32 = 4;

/// The dtypes of a device.
pub mod device_dtype {
    pub const F32: u32 = 0;
    pub const F16: u32 = 1;
}

/// A row that describes a group.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct GroupRow {
    pub lr: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub weight_decay: f64,
    pub flags: f64,
    /// What the group's gradients are multiplied by to clip their norm.
    pub coefficient: f64,
}

pub const FLAG_NESTEROV: u32 = 1;
pub const FLAG_MAXIMIZE: u32 = 2;
pub const FLAG_SIGN: u32 = 4;
pub const FLAG_DECOUPLED: u32 = 8;

impl GroupRow {
    /// Whether its steps need a momentum buffer.
    #[inline(always)]
    pub fn is_buffered(&self) -> bool {
        self.momentum != 0.0
    }

    /// What the rule reads.
    pub fn hyperparameters(&self) -> Hyperparameters {
        let &GroupRow { lr, momentum, dampening, weight_decay, flags, .. } = self;
        let flags = flags as u32;
        Hyperparameters {
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov: flags & FLAG_NESTEROV != 0,
            maximize: flags & FLAG_MAXIMIZE != 0,
            sign: flags & FLAG_SIGN != 0,
            decoupled_weight_decay: flags & FLAG_DECOUPLED != 0,
        }
    }
}

/// The row that says what a step does besides the rule.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CallRow {
    /// What gradients are multiplied by to unscale them.
    pub scale: f64,
    /// The largest magnitude of an element of a gradient.
    pub limit: f64,
    pub flags: f64,
    /// What stochastic rounding draws its bits from: the lower half of the seed ...
    pub seed_low: f64,
    /// ... its upper half ...
    pub seed_high: f64,
    /// ... and the number of the step.
    pub counter: f64,
    /// The address of the table of gradients that are added to those of the rows, or 0. It has `lists`
    /// words for each row: addresses, or 0 for none.
    pub addends: f64,
    /// How many gradients can be added to that of a row.
    pub lists: f64,
    /// The address of the table of averages, or 0. It has a word for each row: an address, or 0 for none.
    pub averages: f64,
    /// The weight of a value in its average ...
    pub average_weight: f64,
    /// ... or, if it is not 0, how many values the average is the mean of, with this one.
    pub average_divisor: f64,
}

pub const FLAG_ZERO: u32 = 1;

impl CallRow {
    /// Whether gradients are filled with zeros when they have been used.
    pub fn zeroes(&self) -> bool {
        self.flags as u32 & FLAG_ZERO != 0
    }
}

/// The row that says what a step on a device does besides the rule. Numbers and 0 or 1.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RequestRow {
    /// What gradients are multiplied by to unscale them.
    pub inverse_scale: f64,
    /// The largest magnitude of an element of a gradient.
    pub max_value: f64,
    /// The largest norm; -1 if it does not matter.
    pub max_norm: f64,
    /// Which norm it is.
    pub norm_type: f64,
    /// Whether the step is skipped if something is not finite.
    pub check_finite: f64,
    /// Whether each group has a norm of its own.
    pub per_group: f64,
    /// Whether gradients are filled with zeros when they have been used.
    pub zero_grad: f64,
}

/// A row that describes a matrix and some rows of its gradient.
#[repr(C)]
pub struct SparseRow {
    /// As of a tensor, with the values for the gradient.
    pub matrix: Row,
    /// The address of the indices: uint32.
    pub indices: u64,
    /// How many there are.
    pub count: u64,
    /// The elements of a row of the matrix.
    pub columns: u64,
    /// The address of the rows in use, a bit for each in words of uint32, or 0 if all may be.
    pub used: u64,
}

/// A row that describes a tensor of a step that is gone back through.
#[repr(C)]
pub struct VjpRow {
    pub param: u64,
    pub grad: u64,
    pub buffer: u64,
    pub param_cotangent: u64,
    pub buffer_cotangent: u64,
    pub d_param: u64,
    pub d_grad: u64,
    pub d_buffer: u64,
    pub length: u64,
    pub dtype: u64,
    pub state: u64,
}

/// A row that describes a binding of a kernel.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ViewRow {
    pub handle: f64,
    pub offset: f64,
    pub length: f64,
}
