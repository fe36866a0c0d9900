/** The tables of a step on the device: they stay as they are as long as its tensors are the same. */

import { decisionWords } from "../core/decision.ts";
import type { DeviceRequest, DeviceTables, NormType } from "../core/device.ts";
import { FIRST, MAYBE, readGroup } from "../plan/layout.ts";
import { bind } from "./api.ts";
import type { Binding, Buffer, Opaque } from "./api.ts";
import { CHUNK, cut, isUnsure, linesOf, PIECE, readRows } from "./chunks.ts";
import type { Bucket, Cut, DeviceRow } from "./chunks.ts";
import { Splitter } from "./commands.ts";
import type { Dispatch } from "./commands.ts";
import type { Context } from "./context.ts";
import { FACTORS, Numbers, REQUEST } from "./numbers.ts";
import { Packer } from "./packer.ts";
import type { Range } from "./packer.ts";
import { accessesOf, sharingOf } from "./variants.ts";
import type { Sharing } from "./variants.ts";

/** The numbers of a device's dtypes in the tensor table. */
export interface Codes {
  readonly float32: number;
  readonly float16: number;
}

/** What one dispatch updates. */
export interface StepDispatch extends Dispatch {
  readonly bucket: Bucket;
  readonly sharing: Sharing;
}

/** What one dispatch measures. */
export interface NormDispatch extends Dispatch {
  readonly isHalf: boolean;
}

/** What decides about a step. */
export interface Decision {
  /** What was decided. */
  readonly words: Buffer;
  /** Binds what `decide.wgsl` uses. */
  bind(): Opaque;
}

/** A step whose tables are on the device. */
export interface StepTables {
  readonly table: Buffer;
  readonly numbers: Numbers;
  readonly steps: readonly StepDispatch[];
  readonly norms: readonly NormDispatch[];
  /** Null if there is nothing to decide. */
  readonly decision: Decision | null;
  readonly normType: NormType;
  /** Frees what it takes on the device, once what is queued has been done. */
  destroy(): void;
}

/** Where the tables are in their buffer. */
interface Layout {
  readonly factors: Range;
  readonly request: Range;
  readonly shape: Range;
  readonly chunks: readonly Range[];
  readonly pieces: readonly Range[];
}

/** Whether a device measures gradients for a request. */
export function isMeasured(request: DeviceRequest | null): boolean {
  return request !== null && (request.checkFinite || request.maxNorm !== null);
}

/** Makes the tables of a step; null if none of its rows is on the device and nothing is to be decided. */
export function buildTables(
  context: Context,
  tables: DeviceTables,
  request: DeviceRequest | null,
  codes: Codes,
): StepTables | null {
  const { groups, groupCount } = tables;
  const rows = readRows(tables, codes);
  const isMeasuring = isMeasured(request);
  if (rows.length === 0 && !isMeasuring) return null;
  const unsure = rows.filter((row) => isUnsure(row, isMeasuring));
  const linesAt = Array.from({ length: groupCount }, (_, i) => linesOf(readGroup(groups, i)));
  const first = firstWords(rows, unsure, groupCount);
  const cuts = cut(rows, linesAt, (i) => first[i], isMeasuring, context.cuts);
  const packer = new Packer();
  const layout = layOut(packer, cuts, shapeOf(cuts, unsure, context), groupCount);
  const table = context.table(packer.size);
  context.gpu.queue.writeBuffer(table, 0, packer.bytes());
  const isDecided = request !== null || unsure.length > 0;
  const [words, partials] = isDecided
    ? [4 * (decisionWords(groupCount) + unsure.length), 8 * (cuts.ends.at(-1) ?? 0)].map((bytes) =>
      context.table(bytes)
    )
    : [context.nothing, context.nothing];
  const normType = request?.normType ?? 2;
  const own = { table, words, partials, splitter: new Splitter(context.arenas) };
  const norms = bindNorms(context, cuts, layout, own, normType); // they are recorded first
  return {
    ...{ table, normType, norms, numbers: new Numbers(layout.request) },
    steps: bindSteps(context, cuts, layout, own),
    decision: isDecided ? { words, bind: decisionBinder(context, layout, own, normType) } : null,
    destroy() {
      table.destroy();
      if (isDecided) { for (const buffer of [words, partials]) buffer.destroy(); }
    },
  };
}

/** What the shader reads as `first` of each row. */
function firstWords(
  rows: readonly DeviceRow[],
  unsure: readonly DeviceRow[],
  groupCount: number,
): number[] {
  const begin = decisionWords(groupCount);
  const places = new Map(unsure.map((row, i) => [row, begin + i]));
  return rows.map((row) =>
    row.state === MAYBE ? places.get(row) ?? 0 : Number(row.state === FIRST)
  );
}

/** The words of `shape` in decide.wgsl. */
function shapeOf({ ends }: Cut, unsure: readonly DeviceRow[], { started }: Context): number[] {
  const words = unsure.map(({ state, bufferAddress }) =>
    2 * started.wordOf(bufferAddress) + Number(state === FIRST)
  );
  return [ends.length, words.length, ...ends, ...words];
}

function layOut(packer: Packer, cuts: Cut, shape: number[], groupCount: number): Layout {
  return {
    factors: packer.reserve(FACTORS * groupCount),
    request: packer.reserve(REQUEST),
    shape: packer.add(shape),
    chunks: cuts.buckets.map(({ words }) => packer.add(words)),
    pieces: cuts.pieces.map(({ words }) => packer.add(words)),
  };
}

/** The buffers of one step's own. */
interface Own {
  readonly table: Buffer;
  readonly words: Buffer;
  readonly partials: Buffer;
  readonly splitter: Splitter;
}

function bindSteps(context: Context, cuts: Cut, layout: Layout, own: Own): StepDispatch[] {
  return cuts.buckets.map((bucket, i) => {
    const sharing = sharingOf(bucket.windows);
    const bindings = [
      ...bucket.windows.map((window) => cuts.windows.at(window)),
      ...[within(own.table, layout.chunks[i]), within(own.table, layout.factors)],
      whole(own.words),
    ];
    const bindGroup = bind(
      context.gpu,
      context.kernels.stepLayout(sharing),
      accessesOf(sharing).map((access, i) => access === null ? null : bindings[i]),
    );
    const workgroups = context.workgroups(bucket.words.length / CHUNK);
    const buffers = bucket.windows.map((window) => cuts.windows.at(window).buffer);
    const isApart = own.splitter.next(buffers);
    return { bucket, sharing, group: bindGroup, workgroups, isApart };
  });
}

function bindNorms(
  context: Context,
  cuts: Cut,
  layout: Layout,
  own: Own,
  normType: NormType,
): NormDispatch[] {
  return cuts.pieces.map(({ isHalf, window, words }, i) => ({
    isHalf,
    group: bind(context.gpu, context.kernels.norm(isHalf, normType).layout, [
      ...[cuts.windows.at(window), within(own.table, layout.pieces[i]), whole(own.partials)],
    ]),
    workgroups: context.workgroups(words.length / PIECE),
    isApart: own.splitter.next([cuts.windows.at(window).buffer]),
  }));
}

/** Binds again where the table of started buffers has grown since. */
function decisionBinder(
  { gpu, kernels, started }: Context,
  layout: Layout,
  own: Own,
  normType: NormType,
): () => Opaque {
  let bound: { readonly group: Opaque; readonly table: Buffer } | null = null;
  return () => {
    const { table } = started;
    if (bound?.table === table) return bound.group;
    const group = bind(gpu, kernels.decide(normType).layout, [
      whole(own.partials),
      ...[within(own.table, layout.shape), within(own.table, layout.request)],
      ...[whole(table), whole(own.words)],
    ]);
    bound = { group, table };
    return group;
  };
}

function whole(buffer: Buffer): Binding {
  return { buffer, offset: 0, size: buffer.size };
}

function within(buffer: Buffer, range: Range): Binding {
  return { buffer, ...range };
}
