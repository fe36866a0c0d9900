/**
 * The shaders as a device takes them: without padding, with the device's type of elements, and with one
 * binding for tensors that are in the same buffer. Browsers refuse two writable bindings of one range.
 */

import type { Access } from "./api.ts";
import { NORM, SGD } from "./shaders.ts";

/** Which of data, gradient and buffer are in the same window of a buffer. */
export type Sharing = "none" | "grad is data" | "buffer is data" | "buffer is grad" | "all";

/** Which of the windows of a step are the same. */
export function sharingOf([data, grad, buffer]: readonly [number, number, number]): Sharing {
  if (data === grad) return buffer === data ? "all" : "grad is data";
  if (buffer === data) return "buffer is data";
  return buffer === grad ? "buffer is grad" : "none";
}

/** For a binding that is not its own: the one that shows its memory. */
const STAND_IN: Readonly<Record<Sharing, Readonly<{ grad?: string; buffer?: string }>>> = {
  "none": {},
  "grad is data": { grad: "data" },
  "buffer is data": { buffer: "data" },
  "buffer is grad": { buffer: "grad" },
  "all": { grad: "data", buffer: "data" },
};

/** How the bindings of a step are accessed. */
export function accessesOf(sharing: Sharing): Access[] {
  const { grad, buffer } = STAND_IN[sharing];
  const own = (standIn?: string): Access => standIn === undefined ? "storage" : null;
  const table = "read-only-storage";
  return ["storage", own(grad), own(buffer), table, table, table];
}

/** The shader of a step. */
export function stepShader(sharing: Sharing, isHalf: boolean): string {
  let text = SGD.replaceAll("vec4<f32>", "f32").replaceAll("vec4<Element>", "Element");
  for (const [name, standIn] of Object.entries(STAND_IN[sharing])) {
    text = text.replace(new RegExp(`^@group.* ${name}: array<.*\n`, "m"), "")
      .replaceAll(new RegExp(`\\b${name}\\[`, "g"), `${standIn}[`);
  }
  return withElements(text, isHalf);
}

/** The shader that measures. */
export function normShader(isHalf: boolean): string {
  return withElements(NORM, isHalf);
}

function withElements(text: string, isHalf: boolean): string {
  return isHalf ? `enable f16;\n${text.replace("Element = f32", "Element = f16")}` : text;
}
