/** The properties of an open GPU. */

/**
 * The properties of an open GPU.
 *
 * @category GPU
 */
export interface GpuInfo {
  /** The adapter's name. */
  readonly name: string;
  /** The kind of device; `cpu` is a software driver that runs on the CPU. */
  readonly type: "discrete" | "integrated" | "virtual" | "cpu" | "other";
  /** The interface that it is driven through: `vulkan`, `metal` or `dx12`. */
  readonly backend: string;
  /** The driver and its version, as far as the driver reports them. */
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
  /** The most bytes of a tensor that one binding of a kernel can see. */
  readonly maxBindingBytes: number;
  /** The most tensors that one kernel can take. */
  readonly maxBindings: number;
  /** The most workgroups in each dimension of a dispatch. */
  readonly maxWorkgroups: number;
  /** The alignment of the offset of a view, in bytes. */
  readonly offsetAlignment: number;
}

const TYPES: Readonly<Record<string, GpuInfo["type"]>> = {
  DiscreteGpu: "discrete",
  IntegratedGpu: "integrated",
  VirtualGpu: "virtual",
  Cpu: "cpu",
};

/** Reads the native library's description of a device. */
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
