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
import { NORM, STEP_ALL, WORLD_LATER } from "./symbols.ts";

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

/** A function of the library, with its name there. */
type Named = NativeFunction & { readonly name: string };

type Symbols<N extends string> = Record<N, (...args: unknown[]) => Promise<number>>;

/** Functions as calls on another thread. */
interface Calls<N extends string> {
  readonly call: (name: N) => (args: readonly unknown[], pins: Pins) => Promise<number>;
  readonly maxPins: PinnedCalls["maxPins"];
  readonly needShared: boolean;
}

/**
 * Opens the calls.
 *
 * @param path The library's file.
 * @param open Opens functions of it.
 */
export function openPinned(path: string, open: Open): PinnedCalls {
  const { call, maxPins, needShared } = openCalls(path, open, {
    stepAll: { name: "descent_step_all", ...STEP_ALL },
    norm: { name: "descent_norm", ...NORM },
  });
  return { stepAll: call("stepAll"), norm: call("norm"), maxPins, needShared };
}

/** What ranks of a world do together, as a call on another thread. */
export interface PinnedWorld {
  readonly later: PinnedCall<typeof WORLD_LATER>;
  readonly maxPins: PinnedCalls["maxPins"];
}

/** Opens it. */
export function openPinnedWorld(path: string, open: Open): PinnedWorld {
  const later = { name: "descent_world_later", ...WORLD_LATER };
  const { call, maxPins } = openCalls(path, open, { later });
  return { later: call("later"), maxPins };
}

function openCalls<N extends string>(
  path: string,
  open: Open,
  functions: Readonly<Record<N, Named>>,
): Calls<N> {
  return findCaller() === "Deno.dlopen"
    ? openWithPins(path, open, functions)
    : openWithoutPins(path, open, functions);
}

function openWithPins<N extends string>(
  path: string,
  open: Open,
  functions: Readonly<Record<N, Named>>,
): Calls<N> {
  const openRoom = (room: number) => open(path, symbolsOf(functions, room)) as Symbols<N>;
  const opened = ROOMS.slice(0, FIRST_ROOMS).map(openRoom);
  // Nothing can be opened once the permission has been revoked. To ask takes 3 us.
  const mayOpenMore = () => mayOpen(path);
  const call = (name: N) => (args: readonly unknown[], pins: Pins) => {
    const i = ROOMS.findIndex((room, i) => room >= pins.length && (i in opened || mayOpenMore()));
    const { [name]: symbol } = opened[i] ??= openRoom(ROOMS[i]);
    const all: unknown[] = [...args, ...pins];
    for (let unused = ROOMS[i] - pins.length; unused > 0; unused--) all.push(null);
    return symbol(...all);
  };
  return {
    call,
    maxPins(wanted: number): number {
      const most = ROOMS[opened.length - 1];
      return wanted > most && mayOpenMore() ? ROOMS[ROOMS.length - 1] : most;
    },
    needShared: false,
  };
}

/** Functions that run on another thread, with room for pins. */
function symbolsOf(functions: Readonly<Record<string, Named>>, room: number): NativeInterface {
  const pins = new Array<"buffer">(room).fill("buffer");
  return Object.fromEntries(
    Object.entries(functions).map(([key, { name, parameters, result }]) => {
      return [key, { name, result, nonblocking: true, parameters: [...parameters, ...pins] }];
    }),
  );
}

/**
 * The calls where a runtime keeps no memory alive. Only koffi has calls on another thread there, and
 * Node.js waits for them before an isolate ends. What may still go is memory that is transferred: so
 * only a call whose arrays are all on shared memory, which cannot be, or are tables that nobody else
 * knows, runs on that thread. The plan, which is used again afterwards, holds the arrays.
 */
function openWithoutPins<N extends string>(
  path: string,
  open: Open,
  functions: Readonly<Record<N, Named>>,
): Calls<N> {
  const now = open(path, functions) as Symbols<N>;
  const beside = findCaller() === "koffi"
    ? open(path, symbolsOf(functions, 0)) as Symbols<N>
    : null;
  const call = (name: N) => async (args: readonly unknown[], pins: Pins) => {
    if (beside === null || !pins.every(cannotGo)) {
      return now[name](...args);
    }
    for (const arg of args) if (ArrayBuffer.isView(arg)) bufferOf(arg); // it moves no more
    return await beside[name](...args);
  };
  return { call, maxPins: () => Infinity, needShared: beside !== null };
}

/** Whether memory cannot be transferred: it is shared, or a table that only the plan knows. */
function cannotGo(pin: ArrayBufferView): boolean {
  return pin instanceof BigUint64Array || pin instanceof Uint32Array || isShared(bufferOf(pin));
}
