/** Buffers of Descent's own, each with as many tensors on it as there are to be made at a time. */

import { USAGE } from "./api.ts";
import type { Buffer } from "./api.ts";
import type { Context } from "./context.ts";

/** What tensors begin at multiples of, in bytes. */
const ALIGNMENT = 16;

/** Room for a tensor. */
export interface Room {
  readonly buffer: Buffer;
  /** Bytes from the start of the buffer. */
  readonly offset: number;
  /** Destroys the buffer once none of its tensors is in use any more. */
  readonly free: () => void;
}

/** Makes room for tensors of so many bytes, filled with zeros. */
export function arena(context: Context, sizes: readonly number[]): Room[] {
  const most = context.gpu.limits.maxBufferSize;
  const rooms: Room[] = [];
  for (let from = 0; from < sizes.length;) {
    const offsets: number[] = [];
    let end = 0;
    for (let i = from; i < sizes.length; i++) {
      // An empty tensor has an address of its own too: it is known by it.
      const next = end + Math.max(1, Math.ceil(sizes[i] / ALIGNMENT)) * ALIGNMENT;
      if (i > from && next > most) break;
      offsets.push(end);
      end = next;
    }
    rooms.push(...roomsOn(context, offsets, Math.max(ALIGNMENT, Math.min(end, most))));
    from += offsets.length;
  }
  return rooms;
}

function roomsOn(
  { gpu, failures, arenas }: Context,
  offsets: readonly number[],
  size: number,
): Room[] {
  const usage = USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST;
  const buffer = failures.guard(() => gpu.createBuffer({ size, usage }));
  if (offsets.length > 1) arenas.add(buffer);
  let used = offsets.length;
  const free = () => {
    if (--used === 0) buffer.destroy();
  };
  return offsets.map((offset) => ({ buffer, offset, free }));
}
