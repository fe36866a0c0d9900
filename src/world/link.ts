/** The link to the other ranks: moves bytes through the native library. */

import type {
  AddedWords,
  ExchangeMeasure,
  ExchangeTables,
  LaterWork,
  StatePart,
} from "../core/exchange.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { orderOf } from "../core/norm.ts";
import { cannot } from "../core/validate.ts";
import { lastError, openWorldPath, readText } from "../native/library.ts";
import type { Library } from "../native/library.ts";
import type { PinnedWorld } from "../native/pinned.ts";
import type { WorldSymbols } from "../native/symbols.ts";
import { WorldError, WorldUnavailableError } from "./errors.ts";
import { whyNotAlone } from "./launcher.ts";

/** The status of something that MPI refuses. */
const REFUSED = 7;
/** The status of ranks that are about to do different things. */
const DIFFER = 8;
/** What ranks meet for on another thread; the numbers cross the boundary. */
const WORK: readonly LaterWork["what"][] = ["step", "measure", "apply"];
/** The number of a meeting for nothing else. */
const NO_WORK = 3;
const NO_ROWS = new BigUint64Array(0);
const NO_NUMBERS = new Float64Array(0);
/** The status of no library that could be used. */
const UNAVAILABLE = 5;

/** Where a rank is among the others. */
export interface Position {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly localSize: number;
}

/** Moves bytes between the ranks. All ranks make the same calls, which `Meetings` makes sure of. */
export interface Link {
  readonly position: Position;
  /** The library of MPI and its version. */
  readonly engine: string;
  /**
   * Gives each rank's header to all.
   *
   * @param patient Whether to wait for as long as it takes.
   */
  meet(own: Uint8Array<ArrayBuffer>, all: Uint8Array<ArrayBuffer>, patient: boolean): void;
  /** Gives the bytes of each rank, as many of all, to all. */
  allGather(
    send: Uint8Array<ArrayBuffer>,
    receive: Uint8Array<ArrayBuffer>,
    patient: boolean,
  ): void;
  /** Gives the bytes of each rank to all; `sizes` has how many each one gives. */
  gather(
    send: Uint8Array<ArrayBuffer>,
    receive: Uint8Array<ArrayBuffer>,
    sizes: Uint32Array<ArrayBuffer>,
  ): void;
  /** Gives the bytes of one rank to all. */
  broadcast(bytes: Uint8Array<ArrayBuffer>, from: number): void;
  /** Replaces elements by their sums over the ranks. */
  sum(values: Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>, dtype: number): void;
  /** Sums up gradients and steps; with shards each rank steps its part. */
  step(tables: ExchangeTables, shards: boolean): void;
  /** Sums up gradients, measures the sums, and keeps them. */
  measure(
    tables: ExchangeTables,
    measure: ExchangeMeasure,
    sums: Float64Array<ArrayBuffer>,
  ): void;
  /** Adds further gradients to those of rows; `sums` says where the sums are written. */
  add(
    rows: BigUint64Array<ArrayBuffer>,
    count: number,
    added: AddedWords,
    sums: BigUint64Array<ArrayBuffer>,
  ): void;
  /** Steps with the sums that were kept. */
  apply(tables: ExchangeTables, shards: boolean): void;
  /** Steps along the signs that the most ranks have. */
  vote(tables: ExchangeTables): void;
  /**
   * Gives each rank's header to all; if these are equal, it continues with what the ranks have met for.
   * Both happen on another thread, where the runtime has one.
   *
   * @returns Whether they are equal.
   */
  later(
    headers: { readonly own: Uint8Array<ArrayBuffer>; readonly all: Uint8Array<ArrayBuffer> },
    work: LaterWork,
  ): Promise<boolean>;
  /**
   * Gives each rank's header to all on another thread, where the runtime has one, however long that takes.
   *
   * @returns Whether they are equal.
   */
  meetLater(
    headers: { readonly own: Uint8Array<ArrayBuffer>; readonly all: Uint8Array<ArrayBuffer> },
  ): Promise<boolean>;
  /** The most pins of that, where up to `wanted` are wanted. */
  maxPins(wanted: number): number;
  /** Waits until nothing runs on another thread. */
  wait(): void;
  /** Gives rank 0's arrays of some rows to all. */
  share(rows: BigUint64Array<ArrayBuffer>, count: number, hasState: boolean): void;
  /** Gives each rank's part of the state of some rows to all, or to rank 0 alone. */
  collect(rows: BigUint64Array<ArrayBuffer>, count: number, firstOnly: boolean): void;
  /** Gives rank 0 a part of the state of a row. */
  readState(rows: BigUint64Array<ArrayBuffer>, count: number, part: StatePart): void;
  /** Gives the system the memory of momentum that other ranks step. */
  giveBack(rows: BigUint64Array<ArrayBuffer>, count: number): void;
  /** Makes zeroed memory that ranks share, and returns the address of this rank's. */
  zeros(bytes: number): bigint;
  /** Has no patience from here on. */
  hurry(): void;
  /**
   * What is said to the others if the process ends before this is closed: two headers, and details. Null
   * for nothing.
   *
   * @returns Whether that can be said at the end of a process.
   */
  leaveWords(words: Uint8Array<ArrayBuffer> | null): boolean;
  /** Leaves the job. */
  close(): void;
  /** Ends all ranks at once, whatever another thread waits for. */
  abort(code: number): never;
}

/**
 * Joins the job whose launcher has started this process.
 *
 * @param library The name or path of a library of MPI, or "".
 * @param timeout Milliseconds.
 * @returns Null if no launcher has started it, or this process alone.
 */
export function openLink(library: string, timeout: number): Link | null {
  const path = openWorldPath();
  if ("reason" in path) {
    const more = whyNotAlone();
    if (more === null) return null;
    throw new WorldUnavailableError(cannot("open the world", `${more}, and ${path.reason}`));
  }
  const { symbols, pinned, library: own } = path;
  const out = new Float64Array(4);
  const name = new TextEncoder().encode(library);
  unwrap(own, symbols.descent_world_open(name, name.length, timeout, out));
  const [rank, size, localRank, localSize] = out;
  if (size === 0) return null;
  const position = { rank, size, localRank, localSize };
  return { ...createLink(own, symbols, position), ...createLater(own, symbols, pinned) };
}

function createLink(
  own: Library,
  symbols: WorldSymbols,
  position: Position,
): Omit<Link, keyof Later> {
  const done = (status: number) => unwrap(own, status);
  const info = readText((out, capacity) => symbols.descent_world_info(out, capacity));
  let isPatient = true;
  return {
    position,
    engine: engineIn(info),
    meet: (own, all, patient) =>
      done(symbols.descent_world_meet(own, lengthOf(own), all, Number(patient && isPatient))),
    allGather: (send, receive, patient) =>
      done(symbols.descent_world_all_gather(send, lengthOf(send), receive, Number(patient))),
    gather: (send, receive, sizes) =>
      done(symbols.descent_world_gather(send, lengthOf(send), receive, sizes)),
    broadcast: (bytes, from) => done(symbols.descent_world_broadcast(bytes, lengthOf(bytes), from)),
    sum: (values, dtype) => done(symbols.descent_world_sum(values, lengthOf(values), dtype)),
    step(tables, shards) {
      const { descent_world_step, descent_world_step_in_place } = symbols;
      const step = tables.inPlace ? descent_world_step_in_place : descent_world_step;
      done(step(...argumentsOf(tables), Number(shards)));
    },
    measure({ rows, count, groupCount, inPlace }, { scale, normType }, sums) {
      const { descent_world_measure, descent_world_measure_in_place } = symbols;
      const measure = inPlace ? descent_world_measure_in_place : descent_world_measure;
      done(measure(rows, count, scale, sums, groupCount, orderOf(normType)));
    },
    add: (rows, count, added, sums) =>
      done(symbols.descent_world_add(rows, count, added.words, added.count, sums)),
    apply(tables, shards) {
      const { descent_world_apply, descent_world_step_in_place } = symbols;
      const apply = tables.inPlace ? descent_world_step_in_place : descent_world_apply;
      done(apply(...argumentsOf(tables), Number(shards)));
    },
    vote: (tables) => done(symbols.descent_world_signs(...argumentsOf(tables))),
    share: (rows, count, hasState) =>
      done(symbols.descent_world_share(rows, count, Number(hasState))),
    collect: (rows, count, firstOnly) =>
      done(symbols.descent_world_collect(rows, count, Number(firstOnly))),
    readState: (rows, count, { row, array, from, to, into }) =>
      done(
        symbols.descent_world_read(rows, count, row, array, from, to, into, into?.length ?? 0),
      ),
    giveBack: (rows, count) => done(symbols.descent_world_give_back(rows, count)),
    zeros(bytes) {
      const address = new BigUint64Array(1);
      done(symbols.descent_world_zeros(bytes, address));
      return address[0];
    },
    hurry: () => void (isPatient = false),
    leaveWords: (words) =>
      symbols.descent_world_goodbye(words, words === null ? 0 : lengthOf(words)) === 0,
    close: () => done(symbols.descent_world_close()),
    abort(code) {
      symbols.descent_world_abort(code);
      throw new WorldError("the job has been ended"); // not reached
    },
  };
}

type Later = Pick<Link, "later" | "meetLater" | "maxPins" | "wait">;

/** Calls on another thread. Each is announced, so that nothing overtakes it. */
export function createLater(own: Library, symbols: WorldSymbols, pinned: PinnedWorld): Later {
  const announced = async (call: () => Promise<number>) => {
    symbols.descent_world_owe(0);
    let status: number;
    try {
      status = await call();
    } catch (error) {
      symbols.descent_world_owe(1); // it has a status if it could be made
      throw error;
    }
    if (status !== DIFFER) unwrap(own, status);
    return status !== DIFFER;
  };
  return {
    later: (headers, { what, tables, measure, sums, mode, pins }) =>
      announced(() => {
        const met = [headers.own, lengthOf(headers.own), headers.all, WORK.indexOf(what)] as const;
        const { scale, normType } = measure;
        const more = [scale, sums, Number(mode === "shards"), orderOf(normType)] as const;
        return pinned.later([...met, ...argumentsOf(tables), ...more], pins);
      }),
    meetLater: (headers) =>
      announced(() => {
        const met = [headers.own, lengthOf(headers.own), headers.all, NO_WORK] as const;
        return pinned.later(
          [...met, NO_ROWS, 0, NO_NUMBERS, 0, NO_NUMBERS, 0, NO_NUMBERS, 0, 0],
          [],
        );
      }),
    maxPins: pinned.maxPins,
    wait: () => unwrap(own, symbols.descent_world_wait()),
  };
}

function argumentsOf({ rows, count, groupRows, groupCount, call }: ExchangeTables) {
  return [rows, count, groupRows, groupCount, call] as const;
}

/** The library's name and version, from its own words: they are `Open MPI v4.1.4, package: ...`, say. */
export function engineIn(info: string): string {
  const version = info.split("\n").slice(2).join("\n");
  const mpich = /MPICH Version:\s*(\S+)/.exec(version);
  if (mpich !== null) return `MPICH ${mpich[1]}`;
  const open = /Open MPI v(\S+?),/.exec(version);
  if (open !== null) return `Open MPI ${open[1]}`;
  return version.split("\n")[0].trim().slice(0, 80);
}

function unwrap({ symbols }: Library, status: number): void {
  if (status === 0) return;
  const text = lastError(symbols);
  if (status === UNAVAILABLE) throw new WorldUnavailableError(text);
  throw status === REFUSED ? new WorldError(text) : new Error(text);
}
