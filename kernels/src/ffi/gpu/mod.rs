//! The boundary of the GPU path. Devices are numbers here, tensors the handles that [`Gpu`] gives
//! out, as float64 words.

mod isolate;
mod registry;
mod timing;
mod waits;

use super::layout::{
    DEVICE, DEVICE_DTYPES, GroupRow, RequestRow, Row, ViewRow, device_dtype, state,
};
use super::pointers::{group_table, read, store, table, text, write_text};
use super::process::guard;
use crate::error::Error;
use crate::gpu::asked::{self, Asked, Written};
use crate::gpu::context::Choice;
use crate::gpu::request::{Norm, Request};
use crate::gpu::tensor::Dtype;
use crate::gpu::{Gpu, Tuning, View};
use registry::GPUS;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `int32_t descent_gpu_open(const uint8_t *name, uint32_t length, uint32_t low_power,
/// double max_block, double chunk, uint32_t isolate, uint32_t *gpu)`: opens the adapter whose name
/// contains `name`. It is closed with the isolate, if that has a number.
///
/// # Safety
/// `name` is valid for `length` bytes, `gpu` for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_open(
    name: *const u8,
    length: u32,
    low_power: u32,
    max_block: f64,
    chunk: f64,
    isolate: u32,
    gpu: *mut u32,
) -> i32 {
    // SAFETY: the caller vouches for both pointers.
    unsafe {
        store(gpu, || {
            let name = text(name, length, "name")?.to_owned();
            let choice = Choice { name, low_power: low_power != 0 };
            let tuning = Tuning { max_block: max_block as u64, chunk_elements: chunk as u64 };
            Ok(GPUS.add(isolate, Gpu::open(&choice, tuning)?))
        })
    }
}

/// `int32_t descent_gpu_close(uint32_t gpu)`: forgets a device, its tensors and kernels.
#[unsafe(no_mangle)]
extern "C" fn descent_gpu_close(gpu: u32) -> i32 {
    guard(|| {
        drop(GPUS.remove(gpu));
        Ok(())
    })
}

/// `uint32_t descent_gpu_info(uint32_t gpu, uint8_t *out, uint32_t capacity)`: lines of a name, a
/// tab and a value.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_info(gpu: u32, out: *mut u8, capacity: u32) -> u32 {
    let text = catch_unwind(AssertUnwindSafe(|| GPUS.get(gpu).map(|gpu| info(&gpu))));
    let text = text.ok().and_then(Result::ok).unwrap_or_default();
    // SAFETY: the caller vouches for `out`.
    unsafe { write_text(&text, out, capacity) }
}

fn info(gpu: &Gpu) -> String {
    let context = gpu.context();
    let (info, limits) = (&context.info, &context.limits);
    let float16 = context.features.contains(wgpu::Features::SHADER_F16);
    let entries: [(&str, &dyn std::fmt::Display); 11] = [
        ("name", &info.name),
        ("type", &format!("{:?}", info.device_type)),
        ("backend", &info.backend),
        ("driver", &info.driver),
        ("driverInfo", &info.driver_info),
        ("float16", &float16),
        ("maxBindingBytes", &gpu.max_block()),
        ("maxBufferBytes", &limits.max_buffer_size),
        ("maxBindings", &limits.max_storage_buffers_per_shader_stage),
        ("maxWorkgroups", &limits.max_compute_workgroups_per_dimension),
        ("offsetAlignment", &limits.min_storage_buffer_offset_alignment),
    ];
    let line = |(name, value): &(&str, &dyn std::fmt::Display)| {
        format!("{name}\t{}\n", value.to_string().replace(['\n', '\t'], " "))
    };
    entries.iter().map(line).collect()
}

/// `int32_t descent_gpu_tensor(uint32_t gpu, double length, uint32_t dtype, uint32_t zeroed,
/// double *handle)`
///
/// # Safety
/// `handle` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_tensor(
    gpu: u32,
    length: f64,
    dtype: u32,
    zeroed: u32,
    handle: *mut f64,
) -> i32 {
    // SAFETY: the caller vouches for `handle`.
    unsafe {
        store(handle, || {
            let dtype = match dtype {
                device_dtype::F32 => Dtype::F32,
                device_dtype::F16 => Dtype::F16,
                _ => return Err(Error::Table(format!("Cannot make a tensor of dtype {dtype}"))),
            };
            Ok(GPUS.get(gpu)?.tensor(length as u64, dtype, zeroed != 0)? as f64)
        })
    }
}

/// `int32_t descent_gpu_free(uint32_t gpu, double handle)`
#[unsafe(no_mangle)]
extern "C" fn descent_gpu_free(gpu: u32, handle: f64) -> i32 {
    guard(|| {
        if let Ok(gpu) = GPUS.get(gpu) {
            gpu.free(handle as u64);
        }
        Ok(())
    })
}

/// `int32_t descent_gpu_write(uint32_t gpu, double handle, const void *data, double bytes)`
///
/// # Safety
/// `data` is valid for reads of `bytes` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_write(gpu: u32, handle: f64, data: *const u8, bytes: f64) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for `data`.
        let data = unsafe { read(data, bytes as usize, "data")? };
        GPUS.get(gpu)?.write(handle as u64, data)
    })
}

/// `int32_t descent_gpu_zero(uint32_t gpu, const double *handles, uint32_t count)`
///
/// # Safety
/// `handles` is valid for reads of `count` words.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_zero(gpu: u32, handles: *const f64, count: u32) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for `handles`.
        let handles = unsafe { read(handles, count as usize, "handles")? };
        let handles: Vec<_> = handles.iter().map(|&handle| handle as u64).collect();
        GPUS.get(gpu)?.zero(&handles)
    })
}

/// `int32_t descent_gpu_kernel(uint32_t gpu, const uint8_t *code, uint32_t code_length,
/// const uint8_t *entry, uint32_t entry_length, uint32_t *kernel)`: compiles WGSL.
///
/// # Safety
/// `code` and `entry` are valid for reads of their lengths, `kernel` for two writes: the kernel's
/// number and how many tensors it takes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_kernel(
    gpu: u32,
    code: *const u8,
    code_length: u32,
    entry: *const u8,
    entry_length: u32,
    kernel: *mut u32,
) -> i32 {
    // SAFETY: the caller vouches for all pointers.
    unsafe {
        store(kernel, || {
            let code = text(code, code_length, "code")?;
            let entry = text(entry, entry_length, "entry point")?;
            GPUS.get(gpu)?.kernel(code, entry)
        })
    }
}

/// `int32_t descent_gpu_free_kernel(uint32_t gpu, uint32_t kernel)`
#[unsafe(no_mangle)]
extern "C" fn descent_gpu_free_kernel(gpu: u32, kernel: u32) -> i32 {
    guard(|| {
        if let Ok(gpu) = GPUS.get(gpu) {
            gpu.free_kernel(kernel);
        }
        Ok(())
    })
}

/// `int32_t descent_gpu_dispatch(uint32_t gpu, uint32_t kernel, const double *views,
/// uint32_t count, uint32_t x, uint32_t y, uint32_t z)`
///
/// # Safety
/// `views` is valid for reads of `count` rows.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_dispatch(
    gpu: u32,
    kernel: u32,
    views: *const f64,
    count: u32,
    x: u32,
    y: u32,
    z: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for `views`.
        let views = unsafe { read(views.cast::<ViewRow>(), count as usize, "views")? };
        let view = |&ViewRow { handle, offset, length }: &ViewRow| View {
            handle: handle as u64,
            offset: offset as u64,
            length: length as u64,
        };
        let views: Vec<_> = views.iter().map(view).collect();
        GPUS.get(gpu)?.dispatch(kernel, &views, [x, y, z])
    })
}

/// `int32_t descent_gpu_step(uint32_t gpu, const uint64_t *rows, uint32_t row_count, uint32_t from,
/// uint32_t to, const double *groups, uint32_t group_count, const double *request)`: queues one step of
/// those of the rows `from..to` that are on this device; null for `request` asks for nothing besides the
/// rule.
///
/// # Safety
/// `rows` is valid for reads of `row_count` rows, `groups` of `group_count` rows, and `request` is null or
/// valid for reads of a request row.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_step(
    gpu: u32,
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
    request: *const f64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for all tables.
        let (rows, groups, request) = unsafe {
            (
                table::<Row>(rows, row_count, from..to, "step")?,
                group_table(groups, group_count, "step")?,
                request.cast::<RequestRow>().as_ref(),
            )
        };
        let rows = rows.iter().skip(from as usize);
        let rows: Vec<_> = rows.filter_map(|row| device_row(gpu, row)).collect();
        let groups: Vec<_> = groups.iter().map(GroupRow::hyperparameters).collect();
        let request = request.map_or(Request::NEUTRAL, read_request);
        GPUS.get(gpu)?.step(&Asked { rows: &rows, groups: &groups, request })
    })
}

fn device_row(gpu: u32, row: &Row) -> Option<asked::Row> {
    let &Row { data, grad, buffer, group, .. } = row;
    let own = DEVICE + gpu * DEVICE_DTYPES;
    let here = (own..own + DEVICE_DTYPES).contains(&row.code());
    let written = match row.state() {
        state::SKIP => return None,
        state::FIRST => Written::No,
        state::MAYBE => Written::Unknown,
        _ => Written::Yes,
    };
    here.then_some(asked::Row { data, grad, buffer, group: group as usize, written })
}

fn read_request(row: &RequestRow) -> Request {
    Request {
        inverse_scale: row.inverse_scale,
        check_finite: row.check_finite != 0.0,
        max_norm: (row.max_norm >= 0.0).then_some(row.max_norm),
        norm: Norm::of(row.norm_type),
        per_group: row.per_group != 0.0,
        max_value: row.max_value,
        zero_grad: row.zero_grad != 0.0,
    }
}

/// `int32_t descent_gpu_memory(uint32_t gpu, double *out)`: bytes of all blocks, bytes sent to the
/// device, bytes sent to the host.
///
/// # Safety
/// `out` is valid for writes of three words.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_memory(gpu: u32, out: *mut [f64; 3]) -> i32 {
    // SAFETY: the caller vouches for `out`.
    unsafe {
        store(out, || {
            let gpu = GPUS.get(gpu)?;
            let traffic = gpu.traffic();
            Ok([gpu.memory(), traffic.to_device, traffic.to_host].map(|bytes| bytes as f64))
        })
    }
}
