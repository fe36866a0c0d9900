/**
 * The steps whose tables are on the device: a few for each tensor table, so that gradients may alternate
 * between buffers.
 */

import type { DeviceRequest, DeviceTables } from "../core/device.ts";
import { readGroup, ROW } from "../plan/layout.ts";
import { linesOf } from "./chunks.ts";
import type { Context } from "./context.ts";
import { buildTables, isMeasured } from "./step_tables.ts";
import type { Codes, StepTables } from "./step_tables.ts";

/** How many steps of one range of rows are kept; the one used longest ago goes first. */
const MOST = 8;

interface KnownStep {
  /** The words of the rows. */
  readonly words: Uint32Array;
  /** The lines of the rule of each group. */
  readonly lines: readonly number[];
  /** What is asked for, as far as tables depend on it. */
  readonly asked: number;
  /** Null for a step that does nothing on the device. */
  readonly tables: StepTables | null;
}

/** The known steps of one device. */
export class KnownSteps {
  readonly #context: Context;
  readonly #codes: Codes;
  /** By the tensor table and the range of rows; the last one used is the first. */
  readonly #known = new WeakMap<object, Map<number, KnownStep[]>>();

  constructor(context: Context, codes: Codes) {
    this.#context = context;
    this.#codes = codes;
  }

  /** The tables of a step, made if they are not there. */
  find(tables: DeviceTables, request: DeviceRequest | null): StepTables | null {
    const list = this.#listOf(tables);
    const asked = request === null ? 0 : isMeasured(request) ? 1 + request.normType : 1;
    const at = list.findIndex((known) => known.asked === asked && fits(known, tables));
    if (at === 0) return list[0].tables;
    if (at > 0) {
      list.unshift(...list.splice(at, 1));
      return list[0].tables;
    }
    const { rows, from, to, groups, groupCount } = tables;
    const words = new Uint32Array(rows.slice(from * ROW, to * ROW).buffer);
    const lines = Array.from({ length: groupCount }, (_, i) => linesOf(readGroup(groups, i)));
    const built = buildTables(this.#context, tables, request, this.#codes);
    list.unshift({ words, lines, asked, tables: built });
    if (list.length > MOST) list.pop()!.tables?.destroy();
    return built;
  }

  #listOf({ rows, rowCount, from, to }: DeviceTables): KnownStep[] {
    let ranges = this.#known.get(rows);
    if (ranges === undefined) this.#known.set(rows, ranges = new Map());
    const key = from * (rowCount + 1) + to;
    let list = ranges.get(key);
    if (list === undefined) ranges.set(key, list = []);
    return list;
  }
}

function fits({ words, lines }: KnownStep, { rows, from, groups, groupCount }: DeviceTables) {
  if (lines.length !== groupCount) return false;
  for (let group = 0; group < groupCount; group++) {
    if (lines[group] !== linesOf(readGroup(groups, group))) return false;
  }
  const now = new Uint32Array(rows.buffer, 8 * from * ROW, words.length);
  for (let i = 0; i < words.length; i++) {
    if (words[i] !== now[i]) return false;
  }
  return true;
}
