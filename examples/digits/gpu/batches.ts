/** The order of the images on the device, cut into batches. */

import type { Compute, ComputeTensor, View } from "./compute.ts";

/**
 * Numbers of images, in batches that shaders see as views of one tensor.
 *
 * A view has to begin at a multiple of the device's alignment; what lies between the end of a batch
 * and the next such place is never seen.
 */
export class Batches<T extends ComputeTensor> {
  /** The batches of an epoch, in the order in which they come by. */
  readonly views: readonly View<T>[];
  readonly #size: number;
  /** Elements from one batch to the next. */
  readonly #stride: number;
  readonly #order: T;

  /**
   * @param gpu Where they are.
   * @param length How many images there are.
   * @param size Images per batch; the last batch takes what is left.
   */
  constructor(gpu: Compute<T>, length: number, size: number) {
    const unit = Math.max(1, gpu.offsetAlignment / Float32Array.BYTES_PER_ELEMENT);
    this.#size = Math.min(size, length);
    this.#stride = Math.ceil(this.#size / unit) * unit;
    const count = Math.ceil(length / this.#size);
    const tensor = this.#order = gpu.tensor(count * this.#stride);
    this.views = Array.from({ length: count }, (_, i) => ({
      tensor,
      offset: i * this.#stride,
      length: Math.min(this.#size, length - i * this.#size),
    }));
  }

  /** Uploads the order of an epoch: every image once. */
  write(order: Uint32Array): void {
    const padded = new Float32Array(this.#order.length);
    for (let i = 0; i < this.views.length; i++) {
      padded.set(order.subarray(i * this.#size, (i + 1) * this.#size), i * this.#stride);
    }
    this.#order.write(padded);
  }
}
