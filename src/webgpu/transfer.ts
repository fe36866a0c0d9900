/** Reads, writes and zeroes ranges of buffers. */

import { bind, takeBytes, USAGE } from "./api.ts";
import type { Binding, Buffer } from "./api.ts";
import { Commands, Splitter } from "./commands.ts";
import type { Context } from "./context.ts";
import { Packer } from "./packer.ts";
import { Windows } from "./windows.ts";

/** WebGPU copies multiples of so many bytes. */
const UNIT = 4;

/** Words of a run, as the shader reads them. */
const RUN = 3;

/** A range of elements. */
export interface Elements extends Binding {
  readonly isHalf: boolean;
}

/**
 * Reads the bytes of a range as they are after all work that is queued: the copy is queued before this
 * returns.
 *
 * @param doing The words after "Cannot" in errors.
 */
export function readRange(
  { gpu, failures }: Context,
  { buffer, offset, size }: Binding,
  doing: string,
): Promise<ArrayBuffer> {
  failures.checkThere(doing);
  const begin = Math.floor(offset / UNIT) * UNIT;
  const end = Math.ceil((offset + size) / UNIT) * UNIT;
  if (size === 0) return failures.wait(doing, Promise.resolve(new ArrayBuffer(0)));
  const { result: copy, outcome } = failures.watch(() => {
    const copy = gpu.createBuffer({ size: end - begin, usage: USAGE.MAP_READ | USAGE.COPY_DST });
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, begin, copy, 0, end - begin);
    gpu.queue.submit([encoder.finish()]);
    return copy;
  });
  return failures.wait(doing, take(copy, offset - begin, size), outcome);
}

async function take(copy: Buffer, offset: number, size: number): Promise<ArrayBuffer> {
  try {
    return (await takeBytes(copy)).slice(offset, offset + size);
  } finally {
    copy.destroy();
  }
}

/** Writes a range. The bytes are copied before this returns. */
export function writeRange(
  context: Context,
  range: Elements,
  bytes: Uint8Array<ArrayBuffer>,
): void {
  const { gpu, failures } = context;
  failures.checkThere("write the tensor");
  if (range.size === 0) return;
  failures.guard(() => {
    if (range.offset % UNIT === 0 && range.size % UNIT === 0) {
      return gpu.queue.writeBuffer(range.buffer, range.offset, bytes);
    }
    const source = context.table(Math.ceil(bytes.length / UNIT) * UNIT);
    const padded = new Uint8Array(Math.ceil(bytes.length / UNIT) * UNIT);
    padded.set(bytes);
    gpu.queue.writeBuffer(source, 0, padded);
    move(context, [range], source);
    source.destroy();
  });
}

/** Fills ranges with zeros. */
export function zeroRanges(context: Context, ranges: readonly Elements[]): void {
  context.failures.checkThere("zero tensors");
  const there = ranges.filter(({ size }) => size > 0);
  if (there.length > 0) context.failures.guard(() => move(context, there, null));
}

/** The runs of one dispatch. */
interface Runs {
  readonly isHalf: boolean;
  /** The numbers of the windows of the range and of the source. */
  readonly into: number;
  readonly from: number;
  readonly words: number[];
}

/** Copies elements into ranges, the elements of all of them one after the other, or zeros. */
function move(context: Context, ranges: readonly Elements[], source: Buffer | null): void {
  const { gpu, kernels } = context;
  const windows = new Windows(context.cuts.windowBytes);
  const runs = cutRuns(context, ranges, source, windows);
  const packer = new Packer();
  const places = runs.map(({ words }) => packer.add(words));
  const table = context.table(packer.size);
  gpu.queue.writeBuffer(table, 0, packer.bytes());
  const commands = new Commands(gpu);
  const splitter = new Splitter(context.arenas);
  runs.forEach(({ isHalf, into, from, words }, i) => {
    const kernel = kernels.move(isHalf, source !== null);
    const bindings = [windows.at(into), windows.at(from), { buffer: table, ...places[i] }];
    commands.add(kernel, {
      group: bind(gpu, kernel.layout, bindings),
      workgroups: context.workgroups(words.length / RUN),
      isApart: splitter.next([bindings[0].buffer]),
    });
  });
  gpu.queue.submit(commands.finish());
  table.destroy();
}

/** Both sides are cut where a binding ends, and the source has its elements from its start. */
function cutRuns(
  { cuts: { chunkElements }, nothing }: Context,
  ranges: readonly Elements[],
  source: Buffer | null,
  windows: Windows,
): Runs[] {
  const runs = new Map<string, Runs>();
  let done = 0;
  for (const { buffer, offset, size, isHalf } of ranges) {
    const bytes = isHalf ? 2 : 4;
    for (let at = 0; at < size;) {
      const place = { buffer, offset: offset + at };
      const origin = source === null
        ? { buffer: nothing, offset: 0 }
        : { buffer: source, offset: done };
      const room = source === null ? Infinity : windows.room(origin);
      const part = Math.min(chunkElements * bytes, size - at, windows.room(place), room);
      const [into, from] = [windows.numberOf(place), windows.numberOf(origin)];
      const key = `${isHalf} ${into} ${from}`;
      let own = runs.get(key);
      if (own === undefined) runs.set(key, own = { isHalf, into, from, words: [] });
      own.words.push(windows.within(place) / bytes, windows.within(origin) / bytes, part / bytes);
      [at, done] = [at + part, done + part];
    }
  }
  return [...runs.values()];
}
