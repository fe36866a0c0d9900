/** The C interface of the native library, one entry per function of `kernels/src/ffi`. */

/** The interface's number; a library with another one is refused. */
export const ABI = 6;

/**
 * `int32_t descent_norm(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
 * double inverse_scale, double *sums, uint32_t group_count)`
 */
export const NORM = {
  parameters: ["buffer", "u32", "u32", "u32", "f64", "buffer", "u32"],
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

/** What `Deno.dlopen` is told. No 64-bit integers: they leave the fast path of a call. */
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
  descent_norm: NORM,
  /**
   * `int32_t descent_scale(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
   * const double *groups, uint32_t group_count)`
   */
  descent_scale: { parameters: ["buffer", "u32", "u32", "u32", "buffer", "u32"], result: "i32" },
  /**
   * `int32_t descent_vjp(const uint64_t *rows, uint32_t count, const double *group, double *sums)`
   */
  descent_vjp: { parameters: ["buffer", "u32", "buffer", "buffer"], result: "i32" },
  /** `int32_t descent_roofline(float *data, const float *grad, float *buffer, uint32_t length)` */
  descent_roofline: { parameters: ["buffer", "buffer", "buffer", "u32"], result: "i32" },
} as const;

/** The functions of an opened library. */
export type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
