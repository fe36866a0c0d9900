//! A step allocates nothing once its threads have started. The only test of this program, because
//! it counts what the whole process allocates.

use descent_kernels::config::Config;
use descent_kernels::cpu::{self, Slot, Tensor};
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::sweep::Group;
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

#[test]
fn a_step_allocates_nothing_once_its_threads_have_started() {
    let group = Group::new(&Hyperparameters {
        lr: 0.1,
        momentum: 0.9,
        dampening: 0.0,
        weight_decay: 0.01,
        nesterov: true,
        maximize: false,
        sign: false,
    });
    for (threads, n) in [(1, 100), (2, 100), (2, 1_000_000)] {
        let config = Config::new(Level::best(), threads);
        let (mut p, g, mut b) = (vec![1.0_f32; n], vec![1.0_f32; n], vec![1.0_f32; n]);
        let slot = Slot {
            param: ArrayViewMut1::from(&mut p[..]),
            grad: ArrayView1::from(&g[..]),
            buffer: Some(ArrayViewMut1::from(&mut b[..])),
            first: false,
            group: 0,
        };
        let mut tensors = [Tensor::F32(slot)];
        // The other thread sets itself up when it first takes something over, whenever that is.
        let mut count_steps = || {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..200 {
                cpu::step(&mut tensors[..], &[group], &config).unwrap();
            }
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        let counts: Vec<_> = (0..5).map(|_| count_steps()).collect();
        assert!(counts.contains(&0), "{threads} threads, {n} elements: {counts:?} per 200 steps");
    }
}
