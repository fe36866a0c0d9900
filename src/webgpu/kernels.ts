/** The compiled shaders of a device, made when they are first needed. */

import type { NormType } from "../core/device.ts";
import { createLayout, createPipeline } from "./api.ts";
import type { Access, Gpu, Opaque } from "./api.ts";
import { DECAY, MOMENTUM, NESTEROV, SHRINK, SIGN } from "./chunks.ts";
import { DECIDE } from "./shaders.ts";
import { accessesOf, normShader, stepShader } from "./variants.ts";
import type { Sharing } from "./variants.ts";

/** Bits, above those of the lines of the rule, that say what a step is asked for. */
export const DECIDED = 32;

export const SCALED = 64;

export const CLAMPED = 128;

export const ZEROED = 256;

/** The constants of the step's shader, by the bit that sets each. */
const CONSTANTS = {
  ...{ DECAY, SHRINK, MOMENTUM, NESTEROV, SIGN },
  ...{ DECIDED, SCALED, CLAMPED, ZEROED },
};

/** The bindings of the shaders that measure and decide, and of the one that moves elements. */
const NORM_ACCESSES: readonly Access[] = ["read-only-storage", "read-only-storage", "storage"];

const DECIDE_ACCESSES: readonly Access[] = [
  ...["read-only-storage", "read-only-storage", "read-only-storage"] as const,
  ...["storage", "storage"] as const,
];

const MOVE_ACCESSES: readonly Access[] = ["storage", "read-only-storage", "read-only-storage"];

/**
 * Moves elements into runs of a buffer, or zeros. WebGPU itself copies and clears multiples of 4 bytes
 * only, and clears no buffer without COPY_DST.
 */
const MOVE = /* wgsl */ `
alias Element = f32;
override COPIED: bool;
struct Run { into: u32, source: u32, length: u32 }
@group(0) @binding(0) var<storage, read_write> into: array<Element>;
@group(0) @binding(1) var<storage, read> source: array<Element>;
@group(0) @binding(2) var<storage, read> runs: array<Run>;
@compute @workgroup_size(256)
fn move_runs(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    for (var k = workgroup.x; k < arrayLength(&runs); k += workgroups.x) {
        let run = runs[k];
        for (var i = lane; i < run.length; i += 256u) {
            if COPIED {
                into[run.into + i] = source[run.source + i];
            } else {
                into[run.into + i] = Element(0.0);
            }
        }
    }
}
`;

/** A compiled shader and the layout of its bindings. */
export interface Kernel {
  readonly pipeline: Opaque;
  readonly layout: Opaque;
}

/** The kernels of one device. */
export class Kernels {
  readonly #gpu: Gpu;
  readonly #kernels = new Map<string, Kernel>();
  readonly #steps = new Map<Sharing, (Kernel | undefined)[]>();
  readonly #layouts = new Map<string, Opaque>();
  readonly #modules = new Map<string, Opaque>();

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** The layout of a step's bindings. */
  stepLayout(sharing: Sharing): Opaque {
    return this.#layout(`step ${sharing}`, () => accessesOf(sharing));
  }

  /**
   * A step.
   *
   * @param bits The lines of the rule, and what is asked for.
   */
  step(sharing: Sharing, isHalf: boolean, bits: number): Kernel {
    let known = this.#steps.get(sharing);
    if (known === undefined) this.#steps.set(sharing, known = []);
    const at = 2 * bits + Number(isHalf);
    return known[at] ??= this.#compileStep(sharing, isHalf, bits);
  }

  #compileStep(sharing: Sharing, isHalf: boolean, bits: number): Kernel {
    const module = this.#module(`step ${sharing} ${isHalf}`, () => stepShader(sharing, isHalf));
    const constants = Object.fromEntries(
      Object.entries(CONSTANTS).map(([name, bit]) => [name, Number((bits & bit) !== 0)]),
    );
    const layout = this.stepLayout(sharing);
    const source = { layout, module, entryPoint: "step", constants };
    return { pipeline: createPipeline(this.#gpu, source), layout };
  }

  /** Measures gradients. */
  norm(isHalf: boolean, normType: NormType): Kernel {
    return this.#kernel(`norm ${isHalf} ${normType}`, () => ({
      ...{ accesses: NORM_ACCESSES, entryPoint: "norm", constants: { NORM: numberOf(normType) } },
      code: normShader(isHalf),
    }));
  }

  /** Decides about a step. */
  decide(normType: NormType): Kernel {
    return this.#kernel(`decide ${normType}`, () => ({
      ...{ accesses: DECIDE_ACCESSES, entryPoint: "decide", code: DECIDE },
      constants: { NORM: numberOf(normType) },
    }));
  }

  /** Moves elements, or zeros. */
  move(isHalf: boolean, isCopied: boolean): Kernel {
    return this.#kernel(`move ${isHalf} ${isCopied}`, () => ({
      ...{ accesses: MOVE_ACCESSES, entryPoint: "move_runs" },
      code: isHalf ? `enable f16;\n${MOVE.replace("Element = f32", "Element = f16")}` : MOVE,
      constants: { COPIED: Number(isCopied) },
    }));
  }

  #kernel(
    key: string,
    describe: () => {
      readonly accesses: readonly Access[];
      readonly entryPoint: string;
      readonly code: string;
      readonly constants: Readonly<Record<string, number>>;
    },
  ): Kernel {
    const known = this.#kernels.get(key);
    if (known !== undefined) return known;
    const { accesses, code, ...source } = describe();
    const layout = this.#layout(source.entryPoint, () => accesses);
    const module = this.#module(key, () => code);
    const kernel = { pipeline: createPipeline(this.#gpu, { ...source, layout, module }), layout };
    this.#kernels.set(key, kernel);
    return kernel;
  }

  #layout(key: string, accesses: () => readonly Access[]): Opaque {
    return getOrMake(this.#layouts, key, () => createLayout(this.#gpu, accesses()));
  }

  #module(key: string, code: () => string): Opaque {
    return getOrMake(this.#modules, key, () => this.#gpu.createShaderModule({ code: code() }));
  }
}

/** The number that stands for a norm in the shaders: 0 for the one of infinity. */
function numberOf(normType: number): number {
  return normType === Infinity ? 0 : normType;
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, value = make());
  return value;
}
