/** A parameter as a plan knows it: what it remembers, and the arrays that a step uses. */

import { label } from "./parameter.ts";
import type { ElementType, Parameter, Tensor } from "./parameter.ts";

/** What the optimizer remembers of a parameter. */
export interface ParameterState {
  /** The momentum buffer, or null before the first step with momentum. */
  momentumBuffer: Tensor | null;
  /** The float32 copy that steps go into, or null if there is none. */
  masterWeight: Float32Array | null;
}

/** What error messages call an array of a parameter. */
export type ArrayName = "data" | "grad" | "momentum buffer" | "master weight";

/** A parameter in the plan, with the arrays that its row was written from. */
export class Entry {
  data: Tensor | null = null;
  grad: Tensor | null = null;
  buffer: Tensor | null = null;
  master: Float32Array | null = null;
  length = 0;
  dtype: ElementType | null = null;
  /** The type that momentum buffers have. */
  bufferType: ElementType | null = null;
  /** The buffer that a step of this plan began, and whether it began with a sparse gradient. */
  begun: Tensor | null = null;
  begunSparse = false;

  constructor(
    readonly parameter: Parameter<Tensor>,
    readonly state: ParameterState,
    readonly group: number,
    readonly index: number,
  ) {}

  /** What error messages call one of the parameter's arrays. */
  name(array: ArrayName): string {
    return `${array} of ${label(this.parameter, this.index)}`;
  }

  /**
   * Checks that the arrays are as long as they were when the row was written.
   *
   * @throws {TypeError} If one of them was detached or resized.
   */
  checkAttached(): void {
    const { data, grad, buffer, master, length } = this;
    if (data!.length !== length) throw detachedError(this.name("data"));
    if (grad !== null && grad.length !== length) throw detachedError(this.name("grad"));
    if (buffer !== null && buffer.length !== length) {
      throw detachedError(this.name("momentum buffer"));
    }
    if (master !== null && master.length !== length) {
      throw detachedError(this.name("master weight"));
    }
  }
}

/** The error of an array that a step cannot use any more. */
export function detachedError(what: string): TypeError {
  return new TypeError(
    `Cannot step as the buffer of ${what} was detached or resized since the last step`,
  );
}
