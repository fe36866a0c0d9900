/** What an open GPU says of itself. */

/**
 * What an open GPU says of itself.
 *
 * @category GPU
 */
export interface GpuInfo {
  /** The adapter's name. */
  readonly name: string;
  /** What kind of device it is; `cpu` is a driver that computes on the processor. */
  readonly type: "discrete" | "integrated" | "virtual" | "cpu" | "other";
  /** The interface that it is driven through: `vulkan`, `metal` or `dx12`. */
  readonly backend: string;
  /** The driver and its version, as far as it tells. */
  readonly driver: string;
  /** Whether tensors can be float16. */
  readonly float16: boolean;
  /** The limits that matter. */
  readonly limits: GpuLimits;
}

/**
 * The limits of a GPU that matter to tensors and kernels.
 *
 * @category GPU
 */
export interface GpuLimits {
  /** Bytes of a tensor that one binding of a kernel can see, at most. */
  readonly maxBindingBytes: number;
  /** Tensors that one kernel can take. */
  readonly maxBindings: number;
  /** Workgroups in each dimension of a dispatch. */
  readonly maxWorkgroups: number;
  /** Bytes to whose multiples the offset of a view is bound. */
  readonly offsetAlignment: number;
}

const TYPES: Readonly<Record<string, GpuInfo["type"]>> = {
  DiscreteGpu: "discrete",
  IntegratedGpu: "integrated",
  VirtualGpu: "virtual",
  Cpu: "cpu",
};

/** Reads what the native library says of a device. */
export function readInfo(lines: ReadonlyMap<string, string>): GpuInfo {
  const text = (name: string) => lines.get(name) ?? "";
  const number = (name: string) => Number(text(name));
  return {
    name: text("name"),
    type: TYPES[text("type")] ?? "other",
    backend: text("backend").toLowerCase(),
    driver: `${text("driver")} ${text("driverInfo")}`.trim(),
    float16: text("float16") === "true",
    limits: {
      maxBindingBytes: number("maxBindingBytes"),
      maxBindings: number("maxBindings"),
      maxWorkgroups: number("maxWorkgroups"),
      offsetAlignment: number("offsetAlignment"),
    },
  };
}
