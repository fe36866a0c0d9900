//! A step allocates nothing once its threads have started. The only test of this program, because
//! it counts what the whole process allocates.

use descent_kernels::config::Config;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::sparse::{self, Scratch, SparseSlot, SparseTensor};
use descent_kernels::step::{
    self, Call, Mixed, MixedGradient, Momentum, Param, Plan, Slot, Tensor, Types,
};
use half::bf16;
use ndarray::{ArrayView1, ArrayViewMut1};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn slot<'a, H, B, T>(p: &'a mut [H], g: &'a [H], b: &'a mut [B]) -> Slot<'a, H, B, T> {
    Slot::new(ArrayViewMut1::from(p), ArrayView1::from(g), Some(ArrayViewMut1::from(b)))
}

#[test]
fn a_step_allocates_nothing_once_its_threads_have_started() {
    let h = Hyperparameters {
        lr: 0.1,
        momentum: 0.9,
        dampening: 0.0,
        weight_decay: 0.01,
        decoupled_weight_decay: false,
        nesterov: true,
        maximize: false,
        sign: false,
    };
    let mut plan = Plan::new(&[(h, 1.0)], &Call::NEUTRAL);
    for (threads, n) in [(1, 100), (2, 100), (2, 1_000_000)] {
        let config = Config::new(Level::best(), threads);
        let (mut p, g, mut b) = (vec![1.0_f32; n], vec![1.0_f32; n], vec![1.0_f32; n]);
        let (mut half_p, half_g) = (vec![bf16::ONE; n], vec![bf16::ONE; n]);
        let mut half_b = b.clone();
        let mut tensors = [
            Tensor::F32(slot(&mut p, &g, &mut b)),
            Tensor::Mixed(Mixed::new(
                Param::Bf16(&mut half_p),
                MixedGradient::Bf16(&half_g),
                Momentum::F32(&mut half_b),
            )),
        ];
        let counts = count_allocations(|| {
            plan.set([(h, 1.0)].into_iter(), &Call::NEUTRAL, Types::ALL);
            step::step(&mut tensors[..], &plan, &config).unwrap();
        });
        assert!(counts.contains(&0), "{threads} threads, {n} elements: {counts:?} per 200 steps");
    }
    // rayon's queue, through which work gets to the other thread, takes a block of 63 places at a time.
    for (threads, blocks) in [(1, 0), (2, 4)] {
        let counts = count_sparse(&Hyperparameters { weight_decay: 0.0, ..h }, threads);
        let least = *counts.iter().min().unwrap();
        assert!(least <= blocks, "sparse, {threads} threads: {counts:?} per 200 steps");
    }
}

/// Of steps of a matrix of which some rows are in use.
fn count_sparse(h: &Hyperparameters, threads: usize) -> Vec<usize> {
    let config = Config::new(Level::best(), threads);
    let (rows, columns) = (3000, 130);
    let (mut param, mut buffer) = (vec![1.0_f32; rows * columns], vec![0.0; rows * columns]);
    let indices: Vec<u32> = (0..700).map(|i| i * 1699 % 3000).collect();
    let values = vec![1.0; indices.len() * columns];
    let mut used = vec![0x5555_5555; rows / 32 + 1];
    *used.last_mut().unwrap() &= (1 << (rows % 32)) - 1;
    let mut tensors = [SparseTensor::F32(SparseSlot {
        param: &mut param,
        buffer: &mut buffer,
        indices: &indices,
        values: &values,
        columns,
        first: false,
        used: Some(&mut used),
        group: 0,
    })];
    let mut scratch = Scratch::default();
    count_allocations(|| sparse::step(&mut tensors, &[*h], &mut scratch, &config).unwrap())
}

/// The allocations of 200 steps, five times: the other thread sets itself up when it first takes
/// something over, whenever that is.
fn count_allocations(mut step: impl FnMut()) -> Vec<usize> {
    let mut count = || {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..200).for_each(|_| step());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    (0..5).map(|_| count()).collect()
}
