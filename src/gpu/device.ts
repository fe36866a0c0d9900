/** An open device of the native library; its methods turn status numbers into errors. */

import { decisionWords, readDecision } from "../core/decision.ts";
import type { DeviceReport, DeviceRequest, DeviceTables } from "../core/device.ts";
import { bufferOf, byteLengthOf } from "../core/intrinsics.ts";
import { cannot } from "../core/validate.ts";
import { isolateNumber } from "../native/isolate.ts";
import { lastError, openGpuPath, readText } from "../native/library.ts";
import type { Library } from "../native/library.ts";
import type { GpuSymbols } from "../native/symbols.ts";
import { DEVICE } from "../plan/layout.ts";
import { REQUEST_ROW, writeRequest } from "./request.ts";

/**
 * No GPU could be opened; the message names the adapters that were seen and what to install.
 *
 * @category GPU
 */
export class GpuUnavailableError extends Error {
  /** The class's name. */
  override name = "GpuUnavailableError";
}

/** Which adapter to open, and sizes that only tests choose (0: what the adapter has). */
export interface OpenRequest {
  readonly adapter: string;
  readonly lowPower: boolean;
  readonly maxBlockBytes: number;
  readonly chunkElements: number;
}

/** A range of a tensor that a kernel sees, in elements. */
export interface NativeView {
  readonly handle: number;
  readonly offset: number;
  readonly length: number;
}

/** A dtype's number in the native library. */
export type DtypeCode = 0 | 1;

/** How many dtypes of the tensor table belong to each device, from `DEVICE` on. */
export const DTYPES = 4;

/** The words of a row that describes a binding of a kernel, in their order. */
export const VIEW_ROW = ["handle", "offset", "length"] as const;

export const UNAVAILABLE = 5;

export const OUT_OF_MEMORY = 6;

/** The tables of a step that does nothing. */
const NO_ROWS: DeviceTables = {
  ...{ rows: new BigUint64Array(1), rowCount: 0, from: 0, to: 0 },
  ...{ groups: new Float64Array(1), groupCount: 0 },
};

/** What is read into. */
type Target = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** An open device. */
export class NativeGpu {
  readonly #library: Library;
  readonly #symbols: GpuSymbols;
  readonly #number: number;
  readonly #request = new Float64Array(REQUEST_ROW.length);
  #closed = false;

  /**
   * @throws {GpuUnavailableError} If there is no library, or it has no GPU path, or no adapter fits.
   */
  constructor({ adapter, lowPower, maxBlockBytes, chunkElements }: OpenRequest) {
    const path = openGpuPath();
    if ("reason" in path) {
      throw new GpuUnavailableError(cannot("open a GPU", path.reason));
    }
    this.#library = path.library;
    this.#symbols = path.symbols;
    const name = new TextEncoder().encode(adapter);
    this.#number = this.#number32((out) =>
      this.#symbols.descent_gpu_open(
        name,
        name.length,
        lowPower ? 1 : 0,
        maxBlockBytes,
        chunkElements,
        isolateNumber(path.library.path),
        out,
      )
    );
  }

  /** Whether `close` was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The properties of the device, by name. */
  info(): Map<string, string> {
    const text = readText((out, capacity) =>
      this.#symbols.descent_gpu_info(this.#number, out, capacity)
    );
    return new Map(text.trimEnd().split("\n").map((line) => line.split("\t") as [string, string]));
  }

  /** Bytes of all blocks, bytes sent to the device and bytes sent to the host. */
  memory(): [blocks: number, toDevice: number, toHost: number] {
    const out = new Float64Array(3);
    this.#unwrap(this.#symbols.descent_gpu_memory(this.#number, out));
    return [out[0], out[1], out[2]];
  }

  /** The dtype's number in the tensor table. */
  tableDtype(dtype: DtypeCode): number {
    return DEVICE + DTYPES * this.#number + dtype;
  }

  /** Makes a tensor, filled with zeros or not initialized. */
  tensor(length: number, dtype: DtypeCode, zeroed: boolean): number {
    const out = new Float64Array(1);
    this.#unwrap(
      this.#symbols.descent_gpu_tensor(this.#number, length, dtype, zeroed ? 1 : 0, out),
    );
    return out[0];
  }

  /** Frees a tensor's memory. */
  free(handle: number): void {
    if (!this.#closed) this.#unwrap(this.#symbols.descent_gpu_free(this.#number, handle));
  }

  /** Writes all elements. The array is copied before this returns. */
  write(handle: number, array: Float32Array | Float16Array): void {
    const bytes = array as Float32Array<ArrayBuffer>;
    this.#unwrap(this.#symbols.descent_gpu_write(this.#number, handle, bytes, byteLengthOf(array)));
  }

  /** Fills tensors with zeros. */
  zero(handles: readonly number[]): void {
    const list = Float64Array.from(handles);
    this.#unwrap(this.#symbols.descent_gpu_zero(this.#number, list, list.length));
  }

  /**
   * Reads all elements into `out`, which the caller keeps alive, without blocking the event loop.
   */
  async read(handle: number, out: Float32Array | Float16Array): Promise<void> {
    await this.#wait(this.#begin(handle), out as Float32Array<ArrayBuffer>);
  }

  /** Reads all elements into `out`. */
  readSync(handle: number, out: Float32Array | Float16Array): void {
    this.#waitSync(this.#begin(handle), out as Float32Array<ArrayBuffer>);
  }

  /** Waits until all queued work has been done, without blocking the event loop. */
  async synchronize(): Promise<void> {
    await this.#wait(this.#begin(0), new Float32Array(0));
  }

  /** Compiles WGSL. */
  kernel(code: string, entryPoint: string): number {
    const encoder = new TextEncoder();
    const [text, entry] = [encoder.encode(code), encoder.encode(entryPoint)];
    return this.#number32((out) =>
      this.#symbols.descent_gpu_kernel(
        this.#number,
        text,
        text.length,
        entry,
        entry.length,
        out,
      )
    );
  }

  /** Forgets a kernel. */
  freeKernel(kernel: number): void {
    if (!this.#closed) this.#unwrap(this.#symbols.descent_gpu_free_kernel(this.#number, kernel));
  }

  /** Queues a kernel. */
  dispatch(
    kernel: number,
    views: readonly NativeView[],
    [x, y, z]: readonly [number, number, number],
  ): void {
    const rows = Float64Array.from(views.flatMap((view) => VIEW_ROW.map((name) => view[name])));
    this.#unwrap(
      this.#symbols.descent_gpu_dispatch(this.#number, kernel, rows, views.length, x, y, z),
    );
  }

  /** Throws what a step would, if the device is lost or closed, or something has gone wrong on it. */
  check(): void {
    this.step(NO_ROWS, null);
  }

  /** Queues one step of those rows of the tensor table that are on this device. */
  step(tables: DeviceTables, request: DeviceRequest | null): void {
    const { rows, rowCount, from, to, groups, groupCount } = tables;
    if (request !== null) writeRequest(this.#request, request);
    const status = this.#symbols.descent_gpu_step(
      this.#number,
      rows,
      rowCount,
      from,
      to,
      groups,
      groupCount,
      request === null ? null : this.#request,
    );
    if (status !== 0) this.#unwrap(status);
  }

  /** Reads what the last step with a request has found, without blocking the event loop. */
  async report(groupCount: number, request: DeviceRequest): Promise<DeviceReport> {
    const words = new Uint32Array(decisionWords(groupCount));
    const wait = this.#number32((out) =>
      this.#symbols.descent_gpu_report(this.#number, words.byteLength, out)
    );
    await this.#wait(wait, words);
    return readDecision(words, groupCount, request);
  }

  /** Reads whether steps have written momentum buffers, without blocking the event loop. */
  async written(handles: readonly number[]): Promise<boolean[]> {
    const words = new Uint32Array(handles.length);
    await this.#wait(this.#beginWritten(handles), words);
    return Array.from(words, (word) => word !== 0);
  }

  /** The same, blocking. */
  writtenSync(handles: readonly number[]): boolean[] {
    const words = new Uint32Array(handles.length);
    this.#waitSync(this.#beginWritten(handles), words);
    return Array.from(words, (word) => word !== 0);
  }

  #beginWritten(handles: readonly number[]): number {
    const list = Float64Array.from(handles);
    return this.#number32((out) =>
      this.#symbols.descent_gpu_written(this.#number, list, list.length, out)
    );
  }

  /** Times every step and dispatch from here on, up to 256 of them. */
  startTiming(): void {
    this.#unwrap(this.#symbols.descent_gpu_start_timing(this.#number));
  }

  /** Ends timing; returns how many seconds each step and dispatch took by the device's clock. */
  stopTiming(): Float64Array {
    const seconds = new Float64Array(256);
    const count = this.#number32((out) =>
      this.#symbols.descent_gpu_stop_timing(this.#number, seconds, seconds.length, out)
    );
    return seconds.subarray(0, count);
  }

  /** Copies bytes within the device, and returns how many seconds each copy took. */
  timeCopies(bytes: number, count: number): Float64Array {
    const seconds = new Float64Array(count);
    this.#number32((out) =>
      this.#symbols.descent_gpu_time_copies(this.#number, bytes, seconds, count, out)
    );
    return seconds;
  }

  /** Makes the device fail, so that tests can check the error. */
  lose(): void {
    this.#unwrap(this.#symbols.descent_gpu_lose(this.#number));
  }

  /** Closes the device once; its tensors and kernels are gone. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwrap(this.#symbols.descent_gpu_close(this.#number));
  }

  #begin(handle: number): number {
    return this.#number32((out) => this.#symbols.descent_gpu_read(this.#number, handle, out));
  }

  /**
   * Another thread writes to `out`: reading its buffer first moves a small array to its final
   * place.
   */
  async #wait(wait: number, out: Target): Promise<void> {
    bufferOf(out);
    await this.#symbols.descent_gpu_wait_async(wait, out, byteLengthOf(out));
    this.#unwrap(this.#symbols.descent_gpu_finish(wait));
  }

  #waitSync(wait: number, out: Target): void {
    this.#unwrap(this.#symbols.descent_gpu_wait(wait, out, byteLengthOf(out)));
    this.#unwrap(this.#symbols.descent_gpu_finish(wait));
  }

  #number32(call: (out: Uint32Array<ArrayBuffer>) => number): number {
    const out = new Uint32Array(1);
    this.#unwrap(call(out));
    return out[0];
  }

  #unwrap(status: number): void {
    if (status === 0) return;
    const text = lastError(this.#library.symbols);
    if (status === UNAVAILABLE) throw new GpuUnavailableError(text);
    throw status === OUT_OF_MEMORY ? new RangeError(text) : new Error(text);
  }
}
