/**
 * The parts of WebGPU that Descent uses. Descent has types of its own for them, so that no program needs
 * the types of a browser or of a package.
 */

/**
 * A `GPUBuffer`, as far as Descent's types go.
 *
 * @category WebGPU
 */
export interface WebGpuBuffer {
  /** Bytes. */
  readonly size: number;
  /** The bits of `GPUBufferUsage`. */
  readonly usage: number;
}

/**
 * A `GPUDevice`, as far as Descent's types go.
 *
 * @category WebGPU
 */
export interface WebGpuDevice<B extends WebGpuBuffer = WebGpuBuffer> {
  /** What the device can do. */
  readonly features: {
    /** Whether it has a feature, such as `shader-f16`. */
    has(feature: string): boolean;
  };
  /** The limits of the device. */
  readonly limits: object;
  /** Settled when the device is lost. */
  readonly lost: Promise<unknown>;
  /** Where work is submitted. */
  readonly queue: object;
  /** Makes a buffer. */
  createBuffer(descriptor: { size: number; usage: number }): B;
}

/** The bits of `GPUBufferUsage` that matter here. */
export const USAGE = { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, STORAGE: 128 } as const;

/** `GPUShaderStage.COMPUTE` */
const COMPUTE = 4;

/** `GPUMapMode.READ` */
const READ = 1;

/** A buffer. */
export interface Buffer extends WebGpuBuffer {
  destroy(): void;
  mapAsync(mode: number): Promise<unknown>;
  getMappedRange(): ArrayBuffer;
  unmap(): void;
}

/** A range of a buffer that a shader sees. */
export interface Binding {
  readonly buffer: Buffer;
  readonly offset: number;
  readonly size: number;
}

/** What is opaque: Descent only hands it back. */
export type Opaque = object;

/** Records dispatches. */
export interface Pass {
  setPipeline(pipeline: Opaque): void;
  setBindGroup(index: number, group: Opaque): void;
  dispatchWorkgroups(x: number): void;
  end(): void;
}

/** Records work. */
export interface Encoder {
  beginComputePass(): Pass;
  copyBufferToBuffer(from: Buffer, at: number, to: Buffer, place: number, bytes: number): void;
  finish(): Opaque;
}

/** Where work is submitted. */
export interface Queue {
  submit(commands: readonly Opaque[]): void;
  writeBuffer(buffer: Buffer, offset: number, data: Uint8Array<ArrayBuffer>): void;
  onSubmittedWorkDone(): Promise<unknown>;
}

/** The limits that matter here. */
export interface Limits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxComputeWorkgroupsPerDimension: number;
}

/** Why a device is lost. */
export interface Loss {
  readonly message: string;
}

/** A device. */
export interface Gpu extends WebGpuDevice<Buffer> {
  readonly limits: Limits;
  readonly lost: Promise<Loss>;
  readonly queue: Queue;
  createBindGroup(descriptor: Opaque): Opaque;
  createBindGroupLayout(descriptor: Opaque): Opaque;
  createCommandEncoder(): Encoder;
  createComputePipeline(descriptor: Opaque): Opaque;
  createPipelineLayout(descriptor: Opaque): Opaque;
  createShaderModule(descriptor: { code: string }): Opaque;
  pushErrorScope(filter: "validation" | "out-of-memory" | "internal"): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
}

/** Whether a binding is written or only read, by the number of the binding; null where there is none. */
export type Access = "storage" | "read-only-storage" | null;

/** A layout of the only bind group of a shader. */
export function createLayout(gpu: Gpu, accesses: readonly Access[]): Opaque {
  const entries = accesses.flatMap((type, binding) =>
    type === null ? [] : [{ binding, visibility: COMPUTE, buffer: { type } }]
  );
  return gpu.createBindGroupLayout({ entries });
}

/** What a pipeline is made of. */
export interface PipelineSource {
  readonly layout: Opaque;
  readonly module: Opaque;
  readonly entryPoint: string;
  readonly constants: Readonly<Record<string, number>>;
}

/** Compiles a shader with its constants. */
export function createPipeline(gpu: Gpu, source: PipelineSource): Opaque {
  const { layout, ...compute } = source;
  const pipelineLayout = gpu.createPipelineLayout({ bindGroupLayouts: [layout] });
  return gpu.createComputePipeline({ layout: pipelineLayout, compute });
}

/** Binds ranges of buffers, by the number of the binding; null where there is none. */
export function bind(gpu: Gpu, layout: Opaque, bindings: readonly (Binding | null)[]): Opaque {
  const entries = bindings.flatMap((resource, binding) =>
    resource === null ? [] : [{ binding, resource }]
  );
  return gpu.createBindGroup({ layout, entries });
}

/** Waits until a buffer can be read, and copies its bytes. */
export async function takeBytes(buffer: Buffer): Promise<ArrayBuffer> {
  await buffer.mapAsync(READ);
  const bytes = buffer.getMappedRange().slice(0);
  buffer.unmap();
  return bytes;
}
