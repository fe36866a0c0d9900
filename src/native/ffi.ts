/**
 * Opens native libraries: the only place that knows how Deno, Node.js and Bun call C functions.
 *
 * Deno has `Deno.dlopen`, Bun `bun:ffi`, Node.js from 26.1 on `node:ffi`. Before that, Node.js calls
 * native code through the package koffi, if the user has installed it.
 */

import { allowed, runtimeName } from "../core/platform.ts";

/** The type of an argument or result. */
export type NativeType = "u32" | "i32" | "f64" | "buffer" | "pointer";

/** A function of a library, as `Deno.dlopen` takes it. */
export interface NativeFunction {
  /** Its name in the library, if it is another one than here. */
  readonly name?: string;
  readonly parameters: readonly NativeType[];
  readonly result: NativeType;
  /** Whether a call returns a promise, and runs on another thread where the runtime can do that. */
  readonly nonblocking?: true;
}

/** Functions by the names by which the package calls them. */
export type NativeInterface = Readonly<Record<string, NativeFunction>>;

type Argument<T> = T extends "buffer" ? ArrayBufferView | null
  : T extends "pointer" ? null
  : number;

type Arguments<P extends readonly NativeType[]> = { -readonly [I in keyof P]: Argument<P[I]> };

/** A function as it is called. */
export type NativeCall<F extends NativeFunction> = (
  ...args: Arguments<F["parameters"]>
) => F extends { readonly nonblocking: true } ? Promise<number> : number;

/** The functions of an opened library. */
export type NativeCalls<S extends NativeInterface> = {
  readonly [K in keyof S]: NativeCall<S[K]>;
};

/** What calls native code here. */
export type Caller = "Deno.dlopen" | "bun:ffi" | "node:ffi" | "koffi";

type Call = (...args: unknown[]) => unknown;
type Calls = Record<string, Call>;

/** The functions of `node:ffi` and `bun:ffi` that are used. */
interface NodeFfi {
  dlopen(path: string, symbols: object): { functions: Record<string, Call> };
}
interface BunFfi {
  dlopen(path: string, symbols: object): { symbols: Record<string, Call> };
}
/** The functions of koffi that are used. */
interface Koffi {
  load(path: string): {
    func(name: string, result: string, parameters: string[]): Call & { async: Call };
  };
}

/** What calls native code in this runtime; null if nothing does. Loads none of it. */
export function findCaller(): Caller | null {
  const runtime = runtimeName();
  if (runtime === "deno") return Deno.dlopen === undefined ? null : "Deno.dlopen";
  if (runtime === "bun") return "bun:ffi";
  if (runtime === null) return null;
  if (nodeModule().isBuiltin("node:ffi")) return "node:ffi";
  return findKoffi() === null ? null : "koffi";
}

/** Whether this program may open a library; never prompts. */
export function mayOpen(path: string): boolean {
  return allowed(findCaller() === "koffi" ? { name: "addon" } : { name: "ffi", path });
}

/** The flag with which it may. */
export function openingFlag(path: string): string {
  if (runtimeName() === "deno") return `--allow-ffi=${path}`;
  return findCaller() === "koffi" ? "--allow-addons" : "--allow-ffi";
}

/**
 * Opens functions of a library.
 *
 * @param path The absolute path of its file.
 * @param symbols The functions.
 * @throws What the runtime throws if there is no such library or function.
 */
export function open<S extends NativeInterface>(path: string, symbols: S): NativeCalls<S> {
  return openAny(path, symbols) as unknown as NativeCalls<S>;
}

function openAny(path: string, symbols: NativeInterface): Calls {
  switch (findCaller()) {
    case "Deno.dlopen":
      return Deno.dlopen(path, symbols as Deno.ForeignLibraryInterface).symbols as Calls;
    case "node:ffi":
      return openWithNode(path, symbols);
    case "bun:ffi":
      return openWithBun(path, symbols);
    case "koffi":
      return openWithKoffi(path, symbols);
    default:
      throw new TypeError("this runtime cannot call native code");
  }
}

function openWithNode(path: string, symbols: NativeInterface): Calls {
  const { dlopen } = process.getBuiltinModule("node:ffi") as unknown as NodeFfi;
  return mapValues(symbols, (f, name) => {
    const { parameters, result } = f;
    const { functions } = dlopen(path, { [name]: { arguments: parameters, return: result } });
    return settle(f, functions[name]);
  });
}

function openWithBun(path: string, symbols: NativeInterface): Calls {
  const { dlopen } = process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
  const isMemory = (type: NativeType) => type === "buffer" || type === "pointer";
  return mapValues(symbols, (f, name) => {
    const args = f.parameters.map((type) => isMemory(type) ? "ptr" : type);
    const { symbols } = dlopen(path, { [name]: { args, returns: f.result } });
    return settle(f, symbols[name]);
  });
}

const KOFFI_TYPES: Readonly<Record<NativeType, string>> = {
  ...{ u32: "uint32_t", i32: "int32_t", f64: "double" },
  ...{ buffer: "void *", pointer: "void *" },
};

function openWithKoffi(path: string, symbols: NativeInterface): Calls {
  const koffi = findKoffi()!;
  const library = (nodeModule().createRequire(koffi)(koffi) as Koffi).load(path);
  return mapValues(symbols, (f, name) => {
    const parameters = f.parameters.map((type) => KOFFI_TYPES[type]);
    const call = library.func(name, KOFFI_TYPES[f.result], parameters);
    return f.nonblocking ? (...args: unknown[]) => callBeside(call, args) : call;
  });
}

/**
 * Calls on a thread of koffi's, which may run ahead of everything here: the arrays are held until it
 * returns. If too many calls wait already, this one is made at once.
 */
function callBeside(call: Call & { async: Call }, args: unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settled = (error: unknown, result: unknown) => {
      args.length = 0; // until here they are reachable
      if (error === null || error === undefined) resolve(result);
      else reject(error);
    };
    try {
      call.async(...args, settled);
    } catch {
      resolve(call(...args));
    }
  });
}

/** A call that returns a promise where another thread was asked for and there is none. */
function settle({ nonblocking }: NativeFunction, call: Call): Call {
  return nonblocking ? (...args) => new Promise((resolve) => resolve(call(...args))) : call;
}

/** Maps each function, with its name in the library. */
function mapValues(
  symbols: NativeInterface,
  map: (f: NativeFunction, name: string) => Call,
): Calls {
  return Object.fromEntries(
    Object.entries(symbols).map(([key, f]) => [key, map(f, f.name ?? key)]),
  );
}

/** `node:module`, which bundlers for browsers must not see. */
function nodeModule() {
  return process.getBuiltinModule("node:module");
}

let koffi: string | null | undefined;

/** Where koffi is. Null if the user has not installed it; `sgd()` asks at every call. */
function findKoffi(): string | null {
  return koffi === undefined ? koffi = searchKoffi() : koffi;
}

/** Looks beside this package and beside the program. */
function searchKoffi(): string | null {
  for (const from of [import.meta.url, process.argv[1]]) {
    if (from === undefined) continue;
    try {
      return nodeModule().createRequire(from).resolve("koffi");
    } catch {
      // It is not to be found from there.
    }
  }
  return null;
}
