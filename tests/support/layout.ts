/** What TypeScript says of the boundary, in the form in which `descent_layout` says it. */

import { BLOCK } from "../../src/backends/js/norms.ts";
import { CHUNK } from "../../src/backends/js/vjp.ts";
import { LANES as VJP_LANES } from "../../src/backends/js/loops/float32/back.ts";
import { LANES } from "../../src/backends/js/loops/float32/gradients.ts";
import { VJP_ROW } from "../../src/backends/native_cpu.ts";
import { BFloat16Array } from "../../src/core/bfloat16.ts";
import { FORMATS } from "../../src/gpu/dtype.ts";
import { DTYPES, OUT_OF_MEMORY, UNAVAILABLE, VIEW_ROW } from "../../src/gpu/device.ts";
import { REQUEST_ROW } from "../../src/gpu/request.ts";
import { SETTING } from "../../src/native/library.ts";
import { ABI } from "../../src/native/symbols.ts";
import { dtypeOf } from "../../src/core/dtype.ts";
import type { HostArray } from "../../src/core/host_array.ts";
import { codeOf } from "../../src/core/rounding.ts";
import { COLUMNS, COUNT, INDICES, SPARSE_ROW, USED } from "../../src/plan/sparse.ts";
import * as tables from "../../src/plan/layout.ts";

/** The whole layout. */
export function layout() {
  return {
    abi: ABI,
    row: {
      words: tables.ROW,
      data: tables.DATA,
      grad: tables.GRAD,
      buffer: tables.BUFFER,
      master: tables.MASTER,
      length: tables.LENGTH,
      kind: tables.KIND,
      stateBits: tables.STATE_BITS,
      formatBits: tables.FORMAT_BITS,
    },
    sparseRow: {
      words: SPARSE_ROW,
      matrix: 0,
      indices: INDICES,
      count: COUNT,
      columns: COLUMNS,
      used: USED,
    },
    groupRow: {
      words: tables.GROUP_ROW,
      lr: tables.LEARNING_RATE,
      momentum: tables.MOMENTUM,
      dampening: tables.DAMPENING,
      weightDecay: tables.WEIGHT_DECAY,
      flags: tables.GROUP_FLAGS,
      coefficient: tables.COEFFICIENT,
      nesterov: tables.FLAG_NESTEROV,
      maximize: tables.FLAG_MAXIMIZE,
      sign: tables.FLAG_SIGN,
      decoupled: tables.FLAG_DECOUPLED,
    },
    callRow: {
      words: tables.CALL_ROW,
      inverseScale: tables.INVERSE_SCALE,
      maxValue: tables.MAX_VALUE,
      flags: tables.CALL_FLAGS,
      seedLow: tables.SEED_LOW,
      seedHigh: tables.SEED_HIGH,
      counter: tables.COUNTER,
      addends: tables.ADDENDS,
      lists: tables.ADDEND_LISTS,
      averages: tables.AVERAGES,
      averageWeight: tables.AVERAGE_WEIGHT,
      averageDivisor: tables.AVERAGE_DIVISOR,
      zero: tables.FLAG_ZERO,
    },
    vjpRow: rowOf(VJP_ROW),
    viewRow: rowOf(VIEW_ROW),
    requestRow: rowOf(REQUEST_ROW),
    states: { skip: tables.SKIP, first: tables.FIRST, later: tables.LATER, maybe: tables.MAYBE },
    dtypes: dtypes(),
    formats: {
      gradF32: tables.FORMAT_GRAD_F32,
      momentum8: tables.FORMAT_MOMENTUM8,
      split: tables.FORMAT_SPLIT,
      split24: tables.FORMAT_SPLIT24,
    },
    devices: {
      first: tables.DEVICE,
      dtypes: DTYPES,
      float32: FORMATS.float32.code,
      float16: FORMATS.float16.code,
    },
    statuses: { setting: SETTING, unavailable: UNAVAILABLE, memory: OUT_OF_MEMORY },
    norm: { block: BLOCK, lanes: LANES },
    vjp: { chunk: CHUNK, lanes: VJP_LANES },
  };
}

/** A row whose fields follow each other. */
function rowOf(fields: readonly string[]): Record<string, number> {
  return { words: fields.length, ...Object.fromEntries(fields.map((name, at) => [name, at])) };
}

function dtypes(): Record<string, number> {
  const codes: Record<string, number> = {};
  const arrays: HostArray[] = [
    new Float32Array(1),
    new Float64Array(1),
    new Float16Array(1),
    new BFloat16Array(1),
  ];
  for (const array of arrays) {
    const dtype = dtypeOf(array, "an array");
    codes[dtype.name] = codeOf(dtype, "nearest");
    if (dtype.bytes !== 2) continue;
    for (const rounding of ["torch", "stochastic"] as const) {
      codes[`${dtype.name} ${rounding}`] = codeOf(dtype, rounding);
    }
  }
  return codes;
}
