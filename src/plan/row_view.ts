/** One row of a tensor table as an object. */

import type { ElementType, Tensor } from "../core/dtype.ts";
import { nameArray } from "../core/parameter.ts";
import type { ArrayName, Parameter } from "../core/parameter.ts";
import type { Correction, Momentum8 } from "./parameter_state.ts";
import type { GradientKind, TensorTable } from "./tensor_table.ts";

/** A parameter with the arrays that its row was written from. It keeps none of them. */
export class RowView {
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

  /** What kind of gradient it has. */
  get gradientKind(): GradientKind {
    return this.#table.gradientKind(this.index);
  }

  /** Null also where the gradient is sparse. */
  get grad(): Tensor | null {
    return this.#table.grads[this.index];
  }

  /**
   * The momentum buffer, even if this step has allocated it. One on a slab becomes an object here. Null
   * if momentum has 8 bits.
   */
  get buffer(): Tensor | null {
    return this.#table.bufferAt(this.index);
  }

  /** Momentum in 8 bits, as `buffer` is given; null if there is none, or it has a buffer. */
  get momentum8(): Momentum8 | null {
    return this.#table.momentum8At(this.index);
  }

  /** The master weight; one on a slab is made an object for the caller, too. Null if it is split. */
  get master(): Float32Array | null {
    return this.#table.masterAt(this.index);
  }

  /** The correction of a split master weight, as `master` is given. */
  get correction(): Correction | null {
    return this.#table.correctionAt(this.index);
  }

  get length(): number {
    return this.#table.lengthAt(this.index);
  }

  get dtype(): ElementType {
    return this.#table.typesAt(this.index).dtype;
  }

  /** The type of its gradient. */
  get gradType(): ElementType {
    return this.#table.typesAt(this.index).gradType;
  }

  /** The type that momentum buffers have, and momentum of 8 bits once it is decoded. */
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
