/** A device as the rest of the package sees it. */

import type { Device, DeviceTensor } from "../core/device.ts";
import type { Context } from "./context.ts";
import { Steps } from "./step.ts";
import type { Codes } from "./step_tables.ts";
import { addressOf, checkWritable, elementsOf } from "./tensor.ts";
import { readRange, zeroRanges } from "./transfer.ts";

/** Words of 32 bits. */
const WORD = 4;

/** Makes it. */
export function createDevice(context: Context, codes: Codes): Device {
  const steps = new Steps(context, codes);
  return {
    name: "webgpu",
    address: addressOf,
    checkWritable,
    check: (doing) => context.failures.checkThere(doing),
    step: (tables, request) => steps.step(tables, request),
    report: () => steps.report(),
    written: (buffers) => readWritten(context, buffers),
    zero: (tensors) => zeroRanges(context, tensors.map(elementsOf)),
    async synchronize(doing = "finish the work") {
      context.failures.checkThere(doing);
      await context.failures.wait(doing, context.gpu.queue.onSubmittedWorkDone());
    },
  };
}

/** Reads the whole table, as the words of buffers are not together. */
async function readWritten(
  context: Context,
  buffers: readonly DeviceTensor[],
): Promise<boolean[]> {
  const { started } = context;
  const words = buffers.map((buffer) => started.wordOf(addressOf(buffer)));
  const size = WORD * (Math.max(...words) + 1);
  const range = { buffer: started.table, offset: 0, size };
  const table = new Uint32Array(await readRange(context, range, "read the state"));
  return words.map((word) => table[word] !== 0);
}
