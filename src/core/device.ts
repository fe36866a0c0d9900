/** What a device is to the rest of the package: tensors outside of JavaScript's memory, and their steps. */

/** The kinds of devices: of the native library, and those of WebGPU that a user has. */
export type DeviceName = "gpu" | "webgpu";

/** A device, whose tensors are not in JavaScript's memory. */
export interface Device {
  /** What `optimizer.backend` says of parameters on it. */
  readonly name: DeviceName;
  /**
   * A number that takes the place of the tensor's address; it is above all addresses of the host.
   */
  address(tensor: DeviceTensor): number;
  /**
   * Checks that work can be queued, where that is not certain: what is for several devices is queued on
   * all of them or none.
   *
   * @param doing The words after "Cannot" in the error.
   * @throws {Error} If the device is known to be lost, or has been closed.
   */
  check?(doing: string): void;
  /**
   * Queues one step of those rows of a plan's tables that are on this device. After an error nothing has
   * been queued.
   *
   * @param request What happens to gradients on their way into the rule; null for nothing.
   */
  step(tables: DeviceTables, request: DeviceRequest | null): void;
  /**
   * Reads what the last step that was queued with a request has found. It is called before the next
   * step is queued.
   */
  report(): Promise<DeviceReport>;
  /**
   * Reads whether steps have written to momentum buffers. Each has been in a row whose state was `MAYBE`
   * or, in a step that could be skipped, `FIRST`.
   */
  written(buffers: readonly DeviceTensor[]): Promise<boolean[]>;
  /** The same, blocking; a device that cannot block does not have it. */
  writtenSync?(buffers: readonly DeviceTensor[]): boolean[];
  /**
   * Checks that a tensor can be written, where that is not certain.
   *
   * @throws {TypeError} If it cannot.
   */
  checkWritable?(tensor: DeviceTensor): void;
  /** Fills tensors with zeros. */
  zero(tensors: readonly DeviceTensor[]): void;
  /**
   * Waits until everything that is queued has been done. It rejects if some of that has failed.
   *
   * @param doing The words after "Cannot" in errors.
   */
  synchronize(doing?: string): Promise<void>;
}

/** The tables of a step, and which of their rows it takes. */
export interface DeviceTables {
  /** The tensor table. */
  readonly rows: BigUint64Array<ArrayBuffer>;
  readonly rowCount: number;
  /** The first row that is stepped, and the row after the last one. */
  readonly from: number;
  readonly to: number;
  /** The group table. A device computes the coefficients of a step itself. */
  readonly groups: Float64Array<ArrayBuffer>;
  readonly groupCount: number;
}

/** What a step does to gradients on their way into the rule, in this order. */
export interface DeviceRequest {
  /** What gradients are multiplied by to unscale them. */
  readonly inverseScale: number;
  /** Whether the step is skipped if something is infinite or NaN. */
  readonly checkFinite: boolean;
  /** The largest norm of the unscaled gradients; null if it does not matter. */
  readonly maxNorm: number | null;
  /** Whether each group has a norm of its own. */
  readonly perGroup: boolean;
  /** Which norm it is. */
  readonly normType: NormType;
  /** The largest magnitude of an element. */
  readonly maxValue: number;
  /** Whether gradients are zeros after the step, also after a skipped one. */
  readonly zeroGrad: boolean;
}

/** Which norm: 1, 2 or infinity. */
export type NormType = number;

/** What a step with a request has found. */
export interface DeviceReport {
  /** Whether it was skipped. */
  readonly skipped: boolean;
  /** The norm of the unscaled gradients of each group: from sums in float32. */
  readonly groupNorms: readonly number[];
  /** What the gradients of each group were multiplied by, as float32. */
  readonly clipCoefficients: readonly number[];
}

/**
 * A tensor on a device: a `GpuTensor` or a `WebGpuTensor`. Its properties cannot be redefined.
 *
 * @category Parameters
 */
export interface DeviceTensor {
  /** Elements. */
  readonly length: number;
  /** Bytes of all elements. */
  readonly byteLength: number;
  /** Reads all elements, without blocking the event loop. */
  read(): Promise<Float32Array | Float16Array>;
  /** Reads all elements, and blocks until they are there. A `WebGpuTensor` does not have it. */
  readSync?(): Float32Array | Float16Array;
  /** Writes all elements. */
  write(array: Float32Array | Float16Array): void;
}
