/** The C interface of the native library, one entry per function of `kernels/src/ffi`. */

import type { NativeCalls } from "./ffi.ts";

/**
 * As `ffi.ts` opens it; a library that was built without its feature `gpu` has none of it.
 * Tensors are handles in float64 words, all else is a small number.
 */
export const GPU_SYMBOLS = {
  /**
   * `int32_t descent_gpu_open(const uint8_t *name, uint32_t length, uint32_t low_power,
   * double max_block, double chunk, uint32_t isolate, uint32_t *gpu)`
   */
  descent_gpu_open: {
    parameters: ["buffer", "u32", "u32", "f64", "f64", "u32", "buffer"],
    result: "i32",
  },
  /** `int32_t descent_gpu_close(uint32_t gpu)` */
  descent_gpu_close: { parameters: ["u32"], result: "i32" },
  /** `uint32_t descent_gpu_info(uint32_t gpu, uint8_t *out, uint32_t capacity)` */
  descent_gpu_info: { parameters: ["u32", "buffer", "u32"], result: "u32" },
  /** `int32_t descent_gpu_memory(uint32_t gpu, double *out)` */
  descent_gpu_memory: { parameters: ["u32", "buffer"], result: "i32" },
  /**
   * `int32_t descent_gpu_tensor(uint32_t gpu, double length, uint32_t dtype, uint32_t zeroed,
   * double *handle)`
   */
  descent_gpu_tensor: { parameters: ["u32", "f64", "u32", "u32", "buffer"], result: "i32" },
  /** `int32_t descent_gpu_free(uint32_t gpu, double handle)` */
  descent_gpu_free: { parameters: ["u32", "f64"], result: "i32" },
  /** `int32_t descent_gpu_write(uint32_t gpu, double handle, const void *data, double bytes)` */
  descent_gpu_write: { parameters: ["u32", "f64", "buffer", "f64"], result: "i32" },
  /** `int32_t descent_gpu_zero(uint32_t gpu, const double *handles, uint32_t count)` */
  descent_gpu_zero: { parameters: ["u32", "buffer", "u32"], result: "i32" },
  /** `int32_t descent_gpu_read(uint32_t gpu, double handle, uint32_t *wait)` */
  descent_gpu_read: { parameters: ["u32", "f64", "buffer"], result: "i32" },
  /** `int32_t descent_gpu_wait(uint32_t wait, void *out, double capacity)` */
  descent_gpu_wait: {
    parameters: ["u32", "buffer", "f64"],
    result: "i32",
  },
  /** As above, on another thread. */
  descent_gpu_wait_async: {
    name: "descent_gpu_wait",
    parameters: ["u32", "buffer", "f64"],
    result: "i32",
    nonblocking: true,
  },
  /** `int32_t descent_gpu_finish(uint32_t wait)` */
  descent_gpu_finish: { parameters: ["u32"], result: "i32" },
  /**
   * `int32_t descent_gpu_kernel(uint32_t gpu, const uint8_t *code, uint32_t code_length,
   * const uint8_t *entry, uint32_t entry_length, uint32_t *kernel)`
   */
  descent_gpu_kernel: {
    parameters: ["u32", "buffer", "u32", "buffer", "u32", "buffer"],
    result: "i32",
  },
  /** `int32_t descent_gpu_free_kernel(uint32_t gpu, uint32_t kernel)` */
  descent_gpu_free_kernel: { parameters: ["u32", "u32"], result: "i32" },
  /**
   * `int32_t descent_gpu_dispatch(uint32_t gpu, uint32_t kernel, const double *views,
   * uint32_t count, uint32_t x, uint32_t y, uint32_t z)`
   */
  descent_gpu_dispatch: {
    parameters: ["u32", "u32", "buffer", "u32", "u32", "u32", "u32"],
    result: "i32",
  },
  /**
   * `int32_t descent_gpu_step(uint32_t gpu, const uint64_t *rows, uint32_t row_count, uint32_t from,
   * uint32_t to, const double *groups, uint32_t group_count, const double *request)`
   */
  descent_gpu_step: {
    parameters: ["u32", "buffer", "u32", "u32", "u32", "buffer", "u32", "buffer"],
    result: "i32",
  },
  /** `int32_t descent_gpu_report(uint32_t gpu, double bytes, uint32_t *wait)` */
  descent_gpu_report: { parameters: ["u32", "f64", "buffer"], result: "i32" },
  /**
   * `int32_t descent_gpu_written(uint32_t gpu, const double *handles, uint32_t count,
   * uint32_t *wait)`
   */
  descent_gpu_written: { parameters: ["u32", "buffer", "u32", "buffer"], result: "i32" },
  /** `int32_t descent_gpu_start_timing(uint32_t gpu)` */
  descent_gpu_start_timing: { parameters: ["u32"], result: "i32" },
  /**
   * `int32_t descent_gpu_stop_timing(uint32_t gpu, double *out, uint32_t capacity,
   * uint32_t *count)`
   */
  descent_gpu_stop_timing: { parameters: ["u32", "buffer", "u32", "buffer"], result: "i32" },
  /**
   * `int32_t descent_gpu_time_copies(uint32_t gpu, double bytes, double *out, uint32_t capacity,
   * uint32_t *count)`
   */
  descent_gpu_time_copies: {
    parameters: ["u32", "f64", "buffer", "u32", "buffer"],
    result: "i32",
  },
  /** `int32_t descent_gpu_lose(uint32_t gpu)` */
  descent_gpu_lose: { parameters: ["u32"], result: "i32" },
} as const;

/** The functions of the GPU path. */
export type GpuSymbols = NativeCalls<typeof GPU_SYMBOLS>;

/** The functions of a world; a library that was built without its feature `mpi` has none of them. */
export const WORLD_SYMBOLS = {
  /**
   * `int32_t descent_world_open(const uint8_t *library, uint32_t length, double timeout, double *out)`
   */
  descent_world_open: { parameters: ["buffer", "u32", "f64", "buffer"], result: "i32" },
  /** `uint32_t descent_world_info(uint8_t *out, uint32_t capacity)` */
  descent_world_info: { parameters: ["buffer", "u32"], result: "u32" },
  /** `uint32_t descent_world_probe(uint8_t *out, uint32_t capacity)` */
  descent_world_probe: { parameters: ["buffer", "u32"], result: "u32" },
  /**
   * `int32_t descent_world_meet(const uint8_t *own, uint32_t bytes, uint8_t *all, uint32_t patient)`
   */
  descent_world_meet: { parameters: ["buffer", "u32", "buffer", "u32"], result: "i32" },
  /**
   * `int32_t descent_world_all_gather(const uint8_t *send, uint32_t bytes, uint8_t *receive,
   * uint32_t patient)`
   */
  descent_world_all_gather: { parameters: ["buffer", "u32", "buffer", "u32"], result: "i32" },
  /**
   * `int32_t descent_world_gather(const uint8_t *send, uint32_t bytes, uint8_t *receive,
   * const uint32_t *sizes)`
   */
  descent_world_gather: { parameters: ["buffer", "u32", "buffer", "buffer"], result: "i32" },
  /** `int32_t descent_world_broadcast(uint8_t *bytes, double length, uint32_t from)` */
  descent_world_broadcast: { parameters: ["buffer", "f64", "u32"], result: "i32" },
  /** `int32_t descent_world_sum(void *values, double length, uint32_t dtype)` */
  descent_world_sum: { parameters: ["buffer", "f64", "u32"], result: "i32" },
  /**
   * `int32_t descent_world_step(const uint64_t *rows, uint32_t row_count, const double *groups,
   * uint32_t group_count, const double *call, uint32_t shards)`
   */
  descent_world_step: {
    parameters: ["buffer", "u32", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  /**
   * `int32_t descent_world_measure(const uint64_t *rows, uint32_t row_count, double scale,
   * double *sums, uint32_t group_count, uint32_t order)`
   */
  descent_world_measure: {
    parameters: ["buffer", "u32", "f64", "buffer", "u32", "u32"],
    result: "i32",
  },
  /**
   * `int32_t descent_world_add(const uint64_t *rows, uint32_t row_count, const uint64_t *addends,
   * uint32_t lists, const uint64_t *sums)`
   */
  descent_world_add: { parameters: ["buffer", "u32", "buffer", "u32", "buffer"], result: "i32" },
  /** As `descent_world_step`. */
  descent_world_apply: {
    parameters: ["buffer", "u32", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  /**
   * `int32_t descent_world_signs(const uint64_t *rows, uint32_t row_count, const double *groups,
   * uint32_t group_count, const double *call)`
   */
  descent_world_signs: { parameters: ["buffer", "u32", "buffer", "u32", "buffer"], result: "i32" },
  /**
   * `int32_t descent_world_share(const uint64_t *rows, uint32_t row_count, uint32_t has_state)`
   */
  descent_world_share: { parameters: ["buffer", "u32", "u32"], result: "i32" },
  /**
   * `int32_t descent_world_collect(const uint64_t *rows, uint32_t row_count, uint32_t first_only)`
   */
  descent_world_collect: { parameters: ["buffer", "u32", "u32"], result: "i32" },
  /**
   * `int32_t descent_world_read(const uint64_t *rows, uint32_t row_count, uint32_t row, uint32_t array,
   * double from, double to, uint8_t *out, uint32_t bytes)`
   */
  descent_world_read: {
    parameters: ["buffer", "u32", "u32", "u32", "f64", "f64", "buffer", "u32"],
    result: "i32",
  },
  /** `int32_t descent_world_give_back(const uint64_t *rows, uint32_t row_count)` */
  descent_world_give_back: { parameters: ["buffer", "u32"], result: "i32" },
  /** `int32_t descent_world_zeros(double bytes, uint64_t *address)` */
  descent_world_zeros: { parameters: ["f64", "buffer"], result: "i32" },
  /** As `descent_world_step`. */
  descent_world_step_in_place: {
    parameters: ["buffer", "u32", "buffer", "u32", "buffer", "u32"],
    result: "i32",
  },
  /** As `descent_world_measure`. */
  descent_world_measure_in_place: {
    parameters: ["buffer", "u32", "f64", "buffer", "u32", "u32"],
    result: "i32",
  },
  /** `int32_t descent_world_owe(uint32_t withdraw)` */
  descent_world_owe: { parameters: ["u32"], result: "i32" },
  /** `int32_t descent_world_wait(void)` */
  descent_world_wait: { parameters: [], result: "i32" },
  /** `int32_t descent_world_close(void)` */
  descent_world_close: { parameters: [], result: "i32" },
  /** `int32_t descent_world_goodbye(const uint8_t *words, uint32_t bytes)` */
  descent_world_goodbye: { parameters: ["buffer", "u32"], result: "i32" },
  /** `int32_t descent_world_abort(uint32_t code)` */
  descent_world_abort: { parameters: ["u32"], result: "i32" },
} as const;

/**
 * `int32_t descent_world_later(const uint8_t *own, uint32_t bytes, uint8_t *all, uint32_t what,
 * const uint64_t *rows, uint32_t row_count, const double *groups, uint32_t group_count,
 * const double *call, double scale, double *sums, uint32_t shards, uint32_t order)`
 */
export const WORLD_LATER = {
  parameters: [
    ...["buffer", "u32", "buffer", "u32", "buffer", "u32", "buffer", "u32"] as const,
    ...["buffer", "f64", "buffer", "u32", "u32"] as const,
  ],
  result: "i32",
} as const;

/** The functions of a world. */
export type WorldSymbols = NativeCalls<typeof WORLD_SYMBOLS>;

/** The interface's number; a library with another one is refused. */
export const ABI = 9;

/**
 * `int32_t descent_norm(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
 * double inverse_scale, double *sums, uint32_t group_count, const uint64_t *addends, uint32_t lists,
 * uint32_t order)`
 */
export const NORM = {
  parameters: ["buffer", "u32", "u32", "u32", "f64", "buffer", "u32", "buffer", "u32", "u32"],
  result: "i32",
} as const;

/**
 * `int32_t descent_step_all(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
 * const double *groups, uint32_t group_count, const double *call, const uint64_t *matrices,
 * uint32_t matrix_count, uint32_t first, uint32_t end)`
 */
export const STEP_ALL = {
  parameters: [
    ...["buffer", "u32", "u32", "u32", "buffer", "u32", "buffer"] as const,
    ...["buffer", "u32", "u32", "u32"] as const,
  ],
  result: "i32",
} as const;

/** As `ffi.ts` opens it. No 64-bit integers: they leave the fast path of a call. */
export const SYMBOLS = {
  /** `uint32_t descent_abi(void)` */
  descent_abi: { parameters: [], result: "u32" },
  /** `int32_t descent_open(void)` */
  descent_open: { parameters: [], result: "i32" },
  /** `uint32_t descent_info(uint8_t *out, uint32_t capacity)` */
  descent_info: { parameters: ["buffer", "u32"], result: "u32" },
  /** `uint32_t descent_error(uint8_t *out, uint32_t capacity)` */
  descent_error: { parameters: ["buffer", "u32"], result: "u32" },
  /** `double descent_address(const void *array)` */
  descent_address: { parameters: ["buffer"], result: "f64" },
  /** `int32_t descent_panic(void)` */
  descent_panic: { parameters: [], result: "i32" },
  /** `uint32_t descent_layout(uint8_t *out, uint32_t capacity)` */
  descent_layout: { parameters: ["buffer", "u32"], result: "u32" },
  /**
   * `int32_t descent_step(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
   * const double *groups, uint32_t group_count, const double *call)`, for calls with null for `call`:
   * a pointer costs nothing there, and a buffer 20 ns.
   */
  descent_step: {
    parameters: ["buffer", "u32", "u32", "u32", "buffer", "u32", "pointer"],
    result: "i32",
  },
  /** The same, for calls with a call row. */
  descent_step_with: {
    name: "descent_step",
    parameters: ["buffer", "u32", "u32", "u32", "buffer", "u32", "buffer"],
    result: "i32",
  },
  /**
   * `int32_t descent_sparse_step(const uint64_t *rows, uint32_t row_count, uint32_t from,
   * uint32_t to, const double *groups, uint32_t group_count)`
   */
  descent_sparse_step: {
    parameters: ["buffer", "u32", "u32", "u32", "buffer", "u32"],
    result: "i32",
  },
  /**
   * `int32_t descent_average(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
   * const uint64_t *averages, double weight, double divisor)`
   */
  descent_average: {
    parameters: ["buffer", "u32", "u32", "u32", "buffer", "f64", "f64"],
    result: "i32",
  },
  descent_norm: NORM,
  /**
   * `int32_t descent_prepare(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
   * const double *groups, uint32_t group_count, double scale, double limit)`
   */
  descent_prepare: {
    parameters: ["buffer", "u32", "u32", "u32", "buffer", "u32", "f64", "f64"],
    result: "i32",
  },
  /**
   * `int32_t descent_vjp(const uint64_t *rows, uint32_t count, const double *group, double *sums)`
   */
  descent_vjp: { parameters: ["buffer", "u32", "buffer", "buffer"], result: "i32" },
  /** `int32_t descent_roofline(float *data, const float *grad, float *buffer, uint32_t length)` */
  descent_roofline: { parameters: ["buffer", "buffer", "buffer", "u32"], result: "i32" },
} as const;

/** The functions of an opened library. */
export type Symbols = NativeCalls<typeof SYMBOLS>;
