//! Sparse steps against dense ones and a plain loop, at every SIMD level and number of threads; and
//! what a sparse step refuses, which must change nothing.

mod configs;

use configs::each_config;
use descent_kernels::config::Config;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::sparse::{self, Scratch, SparseSlot, SparseTensor};
use descent_kernels::step::{self, Call, Plan, Slot, Tensor};
use ndarray::{ArrayView1, ArrayViewMut1};

const PLAIN: Hyperparameters = Hyperparameters {
    lr: 0.1,
    momentum: 0.0,
    dampening: 0.0,
    weight_decay: 0.0,
    decoupled_weight_decay: false,
    nesterov: false,
    maximize: false,
    sign: false,
};

/// A matrix and the gradient of some of its rows.
#[derive(Clone, Debug, PartialEq)]
struct Matrix {
    columns: usize,
    param: Vec<f32>,
    buffer: Vec<f32>,
    indices: Vec<u32>,
    values: Vec<f32>,
    first: bool,
    used: Option<Vec<u32>>,
}

impl Matrix {
    /// `spread` is how many of the rows the entries choose from.
    fn new([rows, columns]: [usize; 2], entries: usize, spread: usize, first: bool) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (rows * columns + entries) as u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut numbers = |count: usize| -> Vec<f32> {
            (0..count).map(|_| (next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
        };
        let picks = numbers(entries);
        Matrix {
            columns,
            param: numbers(rows * columns),
            buffer: if first { vec![0.0; rows * columns] } else { numbers(rows * columns) },
            indices: picks.iter().map(|x| ((x.abs() * 1e6) as usize % spread) as u32).collect(),
            values: numbers(entries * columns),
            first,
            used: None,
        }
    }

    /// The same with some rows in use, and `quiet` in the buffer's other rows; none at a first step.
    fn with_used(self, is_used: impl Fn(usize) -> bool, quiet: f32) -> Self {
        let rows = self.param.len() / self.columns;
        let mut next = self;
        let mut used = vec![0; rows.div_ceil(32)];
        for (row, buffer) in next.buffer.chunks_mut(next.columns).enumerate() {
            if !next.first && is_used(row) {
                used[row / 32] |= 1 << (row % 32);
            } else {
                buffer.fill(quiet);
            }
        }
        next.used = Some(used);
        next
    }

    /// The rows that are in use, or that an entry names.
    fn written(&self) -> Vec<bool> {
        let rows = self.param.len() / self.columns;
        let used = self.used.as_ref().unwrap();
        let is_used = |row: usize| used[row / 32] >> (row % 32) & 1 != 0;
        (0..rows).map(|row| is_used(row) || self.indices.contains(&(row as u32))).collect()
    }

    fn slot(&mut self, h: &Hyperparameters) -> SparseSlot<'_, f32> {
        SparseSlot {
            param: &mut self.param,
            buffer: if h.momentum == 0.0 { &mut [] } else { &mut self.buffer },
            indices: &self.indices,
            values: &self.values,
            columns: self.columns,
            first: self.first,
            used: self.used.as_deref_mut(),
            group: 0,
        }
    }

    fn stepped(&self, h: &Hyperparameters) -> Self {
        let mut next = self.clone();
        if h.momentum == 0.0 && !h.sign {
            let factor = if h.maximize { 0.1_f32 } else { -0.1 };
            for (&row, values) in self.indices.iter().zip(self.values.chunks(self.columns)) {
                let at = row as usize * self.columns;
                for (p, &g) in next.param[at..].iter_mut().zip(values) {
                    *p = factor.mul_add(g, *p);
                }
            }
            return next;
        }
        let mut dense = vec![0.0_f32; self.param.len()];
        for (&row, values) in self.indices.iter().zip(self.values.chunks(self.columns)) {
            let at = row as usize * self.columns;
            dense[at..].iter_mut().zip(values).for_each(|(sum, g)| *sum += g);
        }
        let param = ArrayViewMut1::from(&mut next.param[..]);
        let buffer = Some(ArrayViewMut1::from(&mut next.buffer[..]));
        let slot = Slot::new(param, ArrayView1::from(&dense[..]), buffer);
        let slot = Slot { first: self.first, ..slot };
        let plan = Plan::new(&[(*h, 1.0)], &Call::NEUTRAL);
        let config = Config::new(Level::Portable, 1);
        step::step(&mut [Tensor::F32(slot)][..], &plan, &config).unwrap();
        next
    }
}

fn options() -> Vec<Hyperparameters> {
    let momentum = Hyperparameters { momentum: 0.9, ..PLAIN };
    vec![
        PLAIN,
        Hyperparameters { maximize: true, ..PLAIN },
        Hyperparameters { sign: true, ..PLAIN },
        momentum,
        Hyperparameters { dampening: 0.25, ..momentum },
        Hyperparameters { nesterov: true, ..momentum },
        Hyperparameters { sign: true, ..momentum },
    ]
}

#[test]
fn every_size_order_option_level_and_thread_count_gives_the_bits_of_the_sum() {
    let shapes =
        [[1, 1], [7, 3], [50, 17], [600, 1], [40, 1000], [3000, 130], [70_000, 2], [3, 60_000]];
    for shape in shapes {
        for (entries, spread) in [(0, 1), (1, 1), (shape[0], shape[0]), (300, 1), (2500, 40)] {
            if entries * shape[1] > 2_000_000 {
                continue;
            }
            for (h, first) in options().iter().flat_map(|h| [(h, true), (h, false)]) {
                let start = Matrix::new(shape, entries, spread.min(shape[0]), first);
                let expected = start.stepped(h);
                each_config(|config, context| {
                    let mut matrix = start.clone();
                    let mut tensors = [SparseTensor::F32(matrix.slot(h))];
                    sparse::step(&mut tensors, &[*h], &mut Scratch::default(), config).unwrap();
                    assert!(matrix == expected, "{context}, {shape:?}, {entries} entries, {h:?}");
                });
            }
        }
    }
}

/// Options with momentum.
fn buffered() -> impl Iterator<Item = Hyperparameters> {
    options().into_iter().filter(|h| h.momentum != 0.0)
}

/// Whether a row is in use.
type IsUsed = fn(usize) -> bool;

/// Which rows are in use, by name.
const USED: [(&str, IsUsed); 5] = [
    ("none", |_| false),
    ("one in three", |row| row % 3 == 1),
    ("runs", |row| row / 40 % 2 == 0),
    ("all but one", |row| row != 6),
    ("all", |_| true),
];

#[test]
fn steps_of_the_rows_in_use_have_the_bits_of_steps_of_every_row() {
    let shapes = [[1, 1], [7, 3], [50, 17], [600, 1], [40, 1000], [1500, 90], [70_000, 2]];
    for shape in shapes {
        for (entries, spread) in [(0, 1), (1, 1), (shape[0].min(90), shape[0]), (300, 40)] {
            for (name, is_used) in USED {
                for (h, first) in buffered().flat_map(|h| [(h, true), (h, false)]) {
                    if first && name != "none" {
                        continue; // a first step has none
                    }
                    let spread = spread.min(shape[0]);
                    let start = Matrix::new(shape, entries, spread, first).with_used(is_used, 0.0);
                    let expected = start.stepped(&h);
                    let written = start.written();
                    each_config(|config, context| {
                        let mut matrix = start.clone();
                        let mut tensors = [SparseTensor::F32(matrix.slot(&h))];
                        sparse::step(&mut tensors, &[h], &mut Scratch::default(), config).unwrap();
                        let context =
                            format!("{context}, {shape:?}, {entries} entries, {name} used, {h:?}");
                        assert!(matrix.param == expected.param, "{context}");
                        assert!(matrix.buffer == expected.buffer, "{context}");
                        matrix.indices.clear();
                        assert!(matrix.written() == written, "{context}");
                    });
                }
            }
        }
    }
}

#[test]
fn rows_that_are_not_in_use_are_neither_read_nor_written() {
    for (h, (name, is_used)) in buffered().flat_map(|h| USED.map(|used| (h, used))) {
        let start = Matrix::new([3000, 130], 70, 3000, false).with_used(is_used, f32::NAN);
        let written = start.written();
        each_config(|config, context| {
            let mut matrix = start.clone();
            let mut tensors = [SparseTensor::F32(matrix.slot(&h))];
            sparse::step(&mut tensors, &[h], &mut Scratch::default(), config).unwrap();
            for row in (0..3000).filter(|&row| !written[row]) {
                let at = row * 130..(row + 1) * 130;
                let is_kept = matrix.param[at.clone()] == start.param[at.clone()];
                assert!(is_kept, "row {row}, {name} used, {context}");
                assert!(matrix.buffer[at].iter().all(|x| x.is_nan()), "row {row}, {context}");
            }
        });
    }
}

type Spoil = fn(SparseSlot<'_, f32>) -> SparseSlot<'_, f32>;

#[test]
fn a_matrix_that_does_not_fit_is_an_error_and_nothing_is_changed() {
    let cases: [(&str, Spoil); 9] = [
        ("group", |slot| SparseSlot { group: 1, ..slot }),
        ("row 9 does not exist", |slot| SparseSlot { indices: &[9, 1], ..slot }),
        ("row 4294967295", |slot| SparseSlot { indices: &[0, u32::MAX], ..slot }),
        ("number", |slot| SparseSlot { indices: &[1], ..slot }),
        ("columns", |slot| SparseSlot { columns: 0, ..slot }),
        ("columns", |slot| SparseSlot { columns: 4, ..slot }),
        ("buffer", |slot| SparseSlot { buffer: &mut [], ..slot }),
        ("rows in use", |slot| SparseSlot { used: Some(&mut []), ..slot }),
        ("rows in use", |slot| SparseSlot { used: Some(Box::leak(Box::new([1 << 9]))), ..slot }),
    ];
    let h = Hyperparameters { momentum: 0.9, ..PLAIN };
    for (word, spoil) in cases {
        let mut good = Matrix::new([9, 5], 2, 9, false);
        let mut bad = good.clone();
        let before = (good.clone(), bad.clone());
        let mut tensors =
            [SparseTensor::F32(good.slot(&h)), SparseTensor::F32(spoil(bad.slot(&h)))];
        let error = sparse::step(&mut tensors, &[h], &mut Scratch::default(), &Config::default());
        let text = error.unwrap_err().to_string();
        assert!(text.contains("matrix 1") && text.contains(word), "{text}");
        assert_eq!((good, bad), before);
    }
}

#[test]
fn weight_decay_is_an_error() {
    let h = Hyperparameters { weight_decay: 0.1, ..PLAIN };
    let mut matrix = Matrix::new([9, 5], 2, 9, false);
    let mut tensors = [SparseTensor::F32(matrix.slot(&h))];
    let error = sparse::step(&mut tensors, &[h], &mut Scratch::default(), &Config::default());
    assert!(error.unwrap_err().to_string().contains("weight decay 0"));
}
