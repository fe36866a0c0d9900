/** How tensors lie in buffers. */

import type { Reference as Twin } from "../../gpu/reference.ts";
import { makeBuffer, values } from "./world.ts";
import type { DeviceParameter, Gpu } from "./world.ts";

/** Sizes of nothing, of one, around a workgroup and a chunk, and of several chunks. */
export const SIZES = [10, 0, 1, 64, 255, 257, 4095, 4096, 4097, 3, 9000];

/** How data and gradients lie in buffers of the case's own. */
interface Place {
  readonly buffer: GPUBuffer;
  readonly offset: number;
}

/** Where tensors of these sizes are. */
export type Layout = (
  device: GPUDevice,
  sizes: readonly number[],
) => { data: Place; grad: Place }[];

/** Tensors one after the other, with gaps that let them begin at odd offsets. */
function offsets(sizes: readonly number[], gap: number): { starts: number[]; end: number } {
  let end = gap;
  const starts = sizes.map((size) => {
    const start = end;
    end += size + gap;
    return start;
  });
  return { starts, end };
}

/** The layouts that steps are tested with. */
export const LAYOUTS: Readonly<Record<string, Layout>> = {
  "a buffer for each tensor": (device, sizes) =>
    sizes.map((size) => {
      const own = () => ({ buffer: makeBuffer(device, 4 * Math.max(1, size)), offset: 0 });
      return { data: own(), grad: own() };
    }),
  "all data in one buffer, all gradients in another": (device, sizes) => {
    const { starts, end } = offsets(sizes, 1);
    const [data, grad] = [makeBuffer(device, 4 * end), makeBuffer(device, 4 * end)];
    return starts.map((offset) => ({
      data: { buffer: data, offset },
      grad: { buffer: grad, offset },
    }));
  },
  "data and gradients in one buffer, at odd offsets": (device, sizes) => {
    const { starts, end } = offsets([...sizes, ...sizes], 3);
    const buffer = makeBuffer(device, 4 * end);
    return sizes.map((_, i) => ({
      data: { buffer, offset: starts[i] },
      grad: { buffer, offset: starts[sizes.length + i] },
    }));
  },
};

/** A parameter, and what it must be. */
export interface Pair {
  readonly param: DeviceParameter;
  readonly twin: Twin;
}

/** Parameters in a layout, each with its values. */
export function makePairs(device: GPUDevice, gpu: Gpu, layout: Layout, sizes = SIZES): Pair[] {
  return layout(device, sizes).map(({ data, grad }, i) => {
    const tensor = ({ buffer, offset }: Place, seed: number) => {
      const made = gpu.tensor(buffer, { offset, length: sizes[i] });
      made.write(values(sizes[i], seed));
      return made;
    };
    const twin = { data: values(sizes[i], i), grad: values(sizes[i], i + 50), buffer: null };
    return { param: { data: tensor(data, i), grad: tensor(grad, i + 50) }, twin };
  });
}
