/**
 * As much of a WebAssembly assembler as single loops need: module sections, LEB128 numbers, and the
 * instructions of the loops. Encodings are those of the WebAssembly core specification 3.0, which
 * includes fixed-width and relaxed SIMD.
 */

/** Bytes of code or of a section. */
export type Bytes = readonly number[];

/** A value type. */
export const TYPE = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

/** An unsigned number in LEB128. */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  do {
    const rest = value >>> 7;
    bytes.push((value & 0x7f) | (rest === 0 ? 0 : 0x80));
    value = rest;
  } while (value !== 0);
  return bytes;
}

/** A signed number of 32 bits in LEB128. */
function signed(value: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const byte = value & 0x7f;
    value >>= 7;
    const isLast = value === ((byte & 0x40) === 0 ? 0 : -1);
    bytes.push(isLast ? byte : byte | 0x80);
    if (isLast) return bytes;
  }
}

/** A SIMD instruction by its number in the specification, with its immediate operands. */
export const simd = (code: number, ...immediates: number[]): number[] => [
  0xfd,
  ...unsigned(code),
  ...immediates,
];

/** Instructions that are not SIMD. */
export const op = {
  get: (local: number): number[] => [0x20, ...unsigned(local)],
  set: (local: number): number[] => [0x21, ...unsigned(local)],
  i32Const: (value: number): number[] => [0x41, ...signed(value | 0)],
  i32Load8: (offset: number): number[] => [0x2d, 0, ...unsigned(offset)],
  i32Add: (): number[] => [0x6a],
  f64Add: (): number[] => [0xa0],
  f64Max: (): number[] => [0xa5],
  i32ShiftLeft: (): number[] => [0x74],
  i32ShiftRight: (): number[] => [0x76],
  i32LtU: (): number[] => [0x49],
  loop: (...body: Bytes[]): number[] => [0x03, 0x40, ...body.flat(), 0x0b],
  repeatIf: (): number[] => [0x0d, 0],
};

const vector = (items: readonly Bytes[]): number[] => [...unsigned(items.length), ...items.flat()];

const section = (id: number, body: Bytes): number[] => [id, ...unsigned(body.length), ...body];

const name = (
  text: string,
): number[] => [...unsigned(text.length), ...new TextEncoder().encode(text)];

/** A function: the types of its parameters and results, and its instructions. */
export interface Func {
  readonly params: Bytes;
  readonly results: Bytes;
  /** How many `v128` locals follow the parameters and one `i32` local. */
  readonly locals: number;
  readonly body: Bytes;
}

/** A module with one function, exported as `run`, over a memory imported as `env.memory`. */
export function assemble({ params, results, locals, body }: Func): Uint8Array<ArrayBuffer> {
  const code = [
    ...vector([[1, TYPE.i32], [...unsigned(locals), TYPE.v128]]),
    ...body,
    0x0b,
  ];
  const types = [params, results].map((list) => vector(list.map((type) => [type])));
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector([[0x60, ...types.flat()]])),
    ...section(2, vector([[...name("env"), ...name("memory"), 2, 0, 1]])),
    ...section(3, vector([[0]])),
    ...section(7, vector([[...name("run"), 0, 0]])),
    ...section(10, vector([[...unsigned(code.length), ...code]])),
  ]);
}
