/**
 * Weights as integers of a few bits, with rounding offsets and clipping ranges that can be tuned.
 *
 * A group of weights `w` has a scale `s` and a zero point `z`; `top` is 15 for 4 bits:
 *
 * ```text
 * low  <- minScale * min(w, 0)      high <- maxScale * max(w, 0)
 * s    <- (high - low) / top        z    <- round(-low / s)
 * q    <- clip(round(w / s + v) + z, 0, top)
 * w'   <- s * (q - z)
 * ```
 *
 * `v` in [-0.5, 0.5] moves a weight to the next level up or down; `minScale` and `maxScale` in [0, 1]
 * narrow the range. With `v = 0` and both scales 1 this is rounding to the nearest. Backwards,
 * `round` counts as the identity (the straight-through estimator).
 */

type Vector = Float32Array<ArrayBuffer>;

/** A tensor to tune. */
export interface Tunable {
  readonly name: string;
  readonly data: Vector;
  readonly grad: Vector;
}

/** The range of a group, and what follows from it. */
interface Range {
  readonly low: number;
  readonly scale: number;
  readonly zero: number;
}

/** The quantizer of one matrix [from, to] of weights. */
export class Quantizer {
  /** Rounding offsets, one per weight. */
  readonly offsets: Tunable;
  /** Shares of the lower ends of the ranges, one per group. */
  readonly minScales: Tunable;
  /** Shares of the upper ends of the ranges, one per group. */
  readonly maxScales: Tunable;
  readonly #weights: Vector;
  readonly #top: number;
  readonly #groupOf: (index: number) => number;
  /** The least and greatest weight of each group, or 0 if that is less or greater. */
  readonly #ends: readonly { min: number; max: number }[];

  /**
   * @param weights [from, to]; only read.
   * @param columns The second side of the matrix.
   * @param bits Bits of an integer.
   * @param perColumn Whether each column is a group of its own; else the whole matrix is one.
   */
  constructor(weights: Vector, columns: number, bits: number, perColumn: boolean) {
    const groups = perColumn ? columns : 1;
    this.#weights = weights;
    this.#top = 2 ** bits - 1;
    this.#groupOf = perColumn ? (index) => index % columns : () => 0;
    this.#ends = Array.from({ length: groups }, () => ({ min: 0, max: 0 }));
    weights.forEach((weight, i) => {
      const ends = this.#ends[this.#groupOf(i)];
      ends.min = Math.min(ends.min, weight);
      ends.max = Math.max(ends.max, weight);
    });
    this.offsets = tunable("offsets", weights.length, 0);
    this.minScales = tunable("minScales", groups, 1);
    this.maxScales = tunable("maxScales", groups, 1);
  }

  /** The tensors to tune. */
  get tunables(): readonly Tunable[] {
    return [this.offsets, this.minScales, this.maxScales];
  }

  /** The weights as the integers stand for them. */
  quantized(): Vector {
    const ranges = this.#ranges();
    return this.#weights.map((weight, i) => {
      const { scale, zero } = ranges[this.#groupOf(i)];
      const level = Math.round(weight / scale + this.offsets.data[i]) + zero;
      return scale * (Math.min(Math.max(level, 0), this.#top) - zero);
    });
  }

  /**
   * Sets the gradients of the tunables.
   *
   * @param grad The gradient of a loss by the quantized weights.
   */
  backward(grad: Vector): void {
    const ranges = this.#ranges();
    this.minScales.grad.fill(0);
    this.maxScales.grad.fill(0);
    for (let i = 0; i < grad.length; i++) {
      const group = this.#groupOf(i);
      const { low, scale, zero } = ranges[group];
      const ratio = this.#weights[i] / scale;
      const level = Math.round(ratio + this.offsets.data[i]) + zero;
      const clipped = level < 0 || level > this.#top;
      const kept = Math.min(Math.max(level, 0), this.#top) - zero;
      // The derivatives of w' by v, by s and by low, on which z depends.
      this.offsets.grad[i] = clipped ? 0 : grad[i] * scale;
      const byScale = grad[i] * (clipped ? kept - low / scale : kept - ratio);
      const byLow = clipped ? grad[i] : 0;
      const { min, max } = this.#ends[group];
      this.minScales.grad[group] += min * (byLow - byScale / this.#top);
      this.maxScales.grad[group] += max * byScale / this.#top;
    }
  }

  /** Brings the tunables back to where they may be. */
  clamp(): void {
    clampTo(this.offsets.data, -0.5, 0.5);
    clampTo(this.minScales.data, 0, 1);
    clampTo(this.maxScales.data, 0, 1);
  }

  #ranges(): Range[] {
    return this.#ends.map(({ min, max }, group) => {
      const low = min * this.minScales.data[group];
      const high = max * this.maxScales.data[group];
      const scale = Math.max((high - low) / this.#top, 1e-8);
      return { low, scale, zero: Math.round(-low / scale) };
    });
  }
}

function tunable(name: string, length: number, value: number): Tunable {
  return { name, data: new Float32Array(length).fill(value), grad: new Float32Array(length) };
}

function clampTo(values: Vector, min: number, max: number): void {
  for (let i = 0; i < values.length; i++) values[i] = Math.min(Math.max(values[i], min), max);
}
