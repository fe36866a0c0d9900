/**
 * Calls that run on another thread, and the arguments that keep their memory alive.
 *
 * Tables hold addresses, which keep nothing alive: without further care `buffer.transfer(n)`, or the
 * end of the isolate by an error, `worker.terminate()` or a restart, frees memory that a thread is
 * still writing to. What Deno does keep until a call returns is the memory of each argument of type
 * `buffer`. So the arrays whose addresses are in the tables are further arguments of the call, one
 * for each buffer: pins.
 *
 * The library's functions do not declare these arguments and never look at them. That is sound: by
 * the calling conventions of all released platforms (System V and Microsoft's on x86-64, AAPCS64 and
 * Apple's variant of it) the caller puts arguments into registers, and further ones onto the stack,
 * from the first one on, and takes them away again itself. A function that declares fewer finds its
 * own where it expects them, and leaves the others alone.
 */

import { bufferOf, isShared } from "../core/intrinsics.ts";
import { findCaller, mayOpen } from "./ffi.ts";
import type { NativeCall, NativeFunction, NativeInterface } from "./ffi.ts";
import { NORM, STEP_ALL } from "./symbols.ts";

/** The arrays that a call keeps alive, one on each buffer. */
export type Pins = readonly ArrayBufferView[];

/** A function of the library as a call on another thread. It takes up to `maxPins` pins. */
export type PinnedCall<F extends NativeFunction> = (
  args: Parameters<NativeCall<F>>,
  pins: Pins,
) => Promise<number>;

/** The calls that run on another thread. */
export interface PinnedCalls {
  readonly stepAll: PinnedCall<typeof STEP_ALL>;
  readonly norm: PinnedCall<typeof NORM>;
  /** The most pins that one call can have, where up to `wanted` are wanted. */
  readonly maxPins: (wanted: number) => number;
  /** Whether only calls on shared memory run on another thread. */
  readonly needShared: boolean;
}

/** Opens functions of a library's file. */
type Open = (path: string, symbols: NativeInterface) => unknown;

/**
 * How many pins there is room for, by symbol. A pin takes 0.1 us of a call, room that is not used
 * 0.07 us: 8 pins are what two tensors need, 384 what the 161 of a ResNet-50 need.
 */
const ROOMS = [8, 64, 384, 1024, 4096] as const;
/** Opened with the library; the others take longer to open, and few programs need them. */
const FIRST_ROOMS = 2;

type Symbols = Record<"stepAll" | "norm", (...args: unknown[]) => Promise<number>>;

/**
 * Opens the calls.
 *
 * @param path The library's file.
 * @param open Opens functions of it.
 */
export function openPinned(path: string, open: Open): PinnedCalls {
  return findCaller() === "Deno.dlopen" ? openWithPins(path, open) : openWithoutPins(path, open);
}

function openWithPins(path: string, open: Open): PinnedCalls {
  const openRoom = (room: number) => open(path, symbolsOf(room)) as Symbols;
  const opened = ROOMS.slice(0, FIRST_ROOMS).map(openRoom);
  // Nothing can be opened once the permission has been revoked. To ask takes 3 us.
  const mayOpenMore = () => mayOpen(path);
  const call = (name: keyof Symbols) => (args: readonly unknown[], pins: Pins) => {
    const i = ROOMS.findIndex((room, i) => room >= pins.length && (i in opened || mayOpenMore()));
    const { [name]: symbol } = opened[i] ??= openRoom(ROOMS[i]);
    const all: unknown[] = [...args, ...pins];
    for (let unused = ROOMS[i] - pins.length; unused > 0; unused--) all.push(null);
    return symbol(...all);
  };
  return {
    stepAll: call("stepAll"),
    norm: call("norm"),
    maxPins(wanted: number): number {
      const most = ROOMS[opened.length - 1];
      return wanted > most && mayOpenMore() ? ROOMS[ROOMS.length - 1] : most;
    },
    needShared: false,
  };
}

function symbolsOf(room: number) {
  const pins = new Array<"buffer">(room).fill("buffer");
  const pinned = (name: string, { parameters, result }: typeof STEP_ALL | typeof NORM) => {
    return { name, result, nonblocking: true, parameters: [...parameters, ...pins] } as const;
  };
  return { stepAll: pinned("descent_step_all", STEP_ALL), norm: pinned("descent_norm", NORM) };
}

/**
 * The calls where a runtime keeps no memory alive. Only koffi has calls on another thread there, and
 * Node.js waits for them before an isolate ends. What may still go is memory that is transferred: so
 * only a call whose arrays are all on shared memory, which cannot be, or are tables that nobody else
 * knows, runs on that thread. The plan, which is used again afterwards, holds the arrays.
 */
function openWithoutPins(path: string, open: Open): PinnedCalls {
  const now = open(path, {
    stepAll: { name: "descent_step_all", ...STEP_ALL },
    norm: { name: "descent_norm", ...NORM },
  }) as Symbols;
  const beside = findCaller() === "koffi" ? open(path, symbolsOf(0)) as Symbols : null;
  const call = (name: keyof Symbols) => async (args: readonly unknown[], pins: Pins) => {
    if (beside === null || !pins.every(cannotGo)) {
      return now[name](...args);
    }
    for (const arg of args) if (ArrayBuffer.isView(arg)) bufferOf(arg); // it moves no more
    return await beside[name](...args);
  };
  return {
    stepAll: call("stepAll"),
    norm: call("norm"),
    maxPins: () => Infinity,
    needShared: beside !== null,
  };
}

/** Whether memory cannot be transferred: it is shared, or a table that only the plan knows. */
function cannotGo(pin: ArrayBufferView): boolean {
  return pin instanceof BigUint64Array || pin instanceof Uint32Array || isShared(bufferOf(pin));
}
