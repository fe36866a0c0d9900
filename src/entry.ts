/** A row of a plan as objects, for whoever looks at one row and not at all of them. */

import { nameArray } from "./array_name.ts";
import type { ArrayName } from "./array_name.ts";
import type { ElementType, Parameter, Tensor } from "./parameter.ts";
import type { TensorTable } from "./tensor_table.ts";

/** A parameter with the arrays that its row was written from. It keeps none of them. */
export class Entry {
  readonly #table: TensorTable;

  constructor(
    table: TensorTable,
    readonly parameter: Parameter<Tensor>,
    readonly index: number,
  ) {
    this.#table = table;
  }

  get data(): Tensor {
    return this.#table.datas[this.index];
  }

  /** Null also where the gradient is sparse. */
  get grad(): Tensor | null {
    return this.#table.grads[this.index];
  }

  /** The momentum buffer, also one that is new in the step at hand; an object made for the caller. */
  get buffer(): Tensor | null {
    return this.#table.bufferAt(this.index);
  }

  /** The master weight, likewise. */
  get master(): Float32Array | null {
    return this.#table.masterAt(this.index);
  }

  get length(): number {
    return this.#table.lengthAt(this.index);
  }

  get dtype(): ElementType {
    return this.#table.typesAt(this.index).dtype;
  }

  /** The type that momentum buffers have. */
  get bufferType(): ElementType {
    return this.#table.typesAt(this.index).bufferType;
  }

  get group(): number {
    return this.#table.groupAt(this.index);
  }

  /** Whether the momentum buffer has never been written. */
  get isFirst(): boolean {
    return this.#table.isFirst(this.index);
  }

  /** What error messages call one of the parameter's arrays. */
  name(array: ArrayName): string {
    return nameArray(this.parameter, this.index, array);
  }
}
