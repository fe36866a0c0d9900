/** Parameters on a GPU that are stepped with options, and the same on the host. */

import { assertEquals } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { GroupOptions, Parameter, ParamGroup, StepOptions, StepReport } from "@descent/sgd";
import type { Gpu, GpuTensor } from "@descent/sgd/gpu";
import type { Arithmetic } from "../../src/core/rule.ts";
import { values } from "./gpu.ts";
import { arithmeticOf, assertBits, probe, stepReference } from "./reference.ts";
import type { Reference } from "./reference.ts";

type GpuParameter = Parameter<GpuTensor> & { grad: GpuTensor };

/** Sizes around a vector, a chunk and the lanes, and nothing. */
export const SIZES = [10, 0, 1, 255, 4095, 4097, 9000];

/** Parameters on a GPU, and the same on the host. */
export class Twins {
  readonly params: GpuParameter[];
  readonly host: Reference[];
  readonly optimizer: SGD<GpuTensor>;
  readonly #arithmetic: Arithmetic<number>;

  /** @param options Of one group, or of two that the parameters belong to in turn. */
  constructor(
    readonly gpu: Gpu,
    options: readonly GroupOptions[],
    readonly sizes: readonly number[] = SIZES,
  ) {
    this.#arithmetic = arithmeticOf(probe(gpu));
    this.host = sizes.map((n, i) => ({
      data: values(n, i),
      grad: values(n, i + 50),
      buffer: null,
    }));
    this.params = this.host.map(({ data, grad }) => ({
      ...{ data: gpu.tensor(data), grad: gpu.tensor(grad) },
    }));
    this.optimizer = new SGD<GpuTensor>(
      options.map((own, g) => ({
        ...own,
        params: this.params.filter((_, i) => this.groupOf(i, options) === g),
      })),
      { lr: 0.1 },
    );
  }

  groupOf(i: number, groups: readonly unknown[] = this.optimizer.paramGroups): number {
    return i % groups.length;
  }

  /** Gives all parameters other gradients. */
  setGrads(make: (n: number, i: number) => Float32Array): void {
    this.host.forEach((w, i) => {
      const grad = make(w.grad.length, i);
      w.grad.set(grad);
      this.params[i].grad.write(grad);
    });
  }

  /** Takes on the host the step that the GPU has reported. */
  follow(options: StepOptions, { skipped, clipCoefficients }: StepReport): void {
    const { gradScale = 1, maxValue: limit = Infinity, zeroGrad = false } = options;
    this.host.forEach((w, i) => {
      const g = this.groupOf(i);
      const group = this.optimizer.paramGroups[g] as ParamGroup;
      const coefficient = clipCoefficients?.[g] ?? 1;
      if (!skipped) {
        stepReference(this.#arithmetic, w, group, { scale: 1 / gradScale, coefficient, limit });
      }
      if (zeroGrad) w.grad.fill(0);
    });
  }

  /** Asserts that the GPU has what the host has. */
  assertSame(what: string): void {
    this.host.forEach(({ data, grad, buffer }, i) => {
      const { momentumBuffer } = this.optimizer.state.get(this.params[i])!;
      assertBits(this.params[i].data.readSync(), data, `${what}: data ${i}`);
      assertBits(this.params[i].grad.readSync(), grad, `${what}: grad ${i}`);
      assertEquals(momentumBuffer === null, buffer === null, `${what}: buffer ${i} is there`);
      if (buffer !== null) {
        assertBits((momentumBuffer as GpuTensor).readSync(), buffer, `${what}: buffer ${i}`);
      }
    });
  }
}

/** A rule whose first step differs from the later ones in every term. */
export const DAMPED: GroupOptions = {
  momentum: 0.5,
  dampening: 0.25,
  weightDecay: 0.125,
  nesterov: false,
};

/** Gradients that skip a step. */
export const spoiled = (n: number, i: number) => values(n, i).map((x, k) => k === n - 1 ? NaN : x);
