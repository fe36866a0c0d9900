/** Files of libraries that were not copied whole are told by their headers, on every system. */

import { assert, assertEquals } from "@std/assert";
import { requiredSize } from "../../src/native/image.ts";
import { openLibrary } from "../../src/native/library.ts";
import { findFlaw } from "../../src/native/library_file.ts";
import { cpuMissing } from "../support/backends.ts";

type Field = [at: number, bytes: 1 | 2 | 4 | 8, value: number];

/** A file of so many bytes, with these numbers in it, little-endian. */
function image(size: number, fields: readonly Field[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (const [at, width, value] of fields) {
    if (width === 1) view.setUint8(at, value);
    else if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
  }
  return bytes;
}

function sizeOf(bytes: Uint8Array<ArrayBuffer>): number {
  return requiredSize((at, length) => {
    const part = bytes.subarray(Math.min(at, bytes.length), Math.min(at + length, bytes.length));
    return new DataView(part.buffer, part.byteOffset, part.length);
  });
}

const ELF: Field[] = [[0, 4, 0x464c457f], [4, 1, 2], [5, 1, 1]];
const MACH: Field[] = [[0, 4, 0xfeedfacf]];
const PE: Field[] = [[0, 2, 0x5a4d], [60, 4, 128], [128, 4, 0x4550]];
const FAT: Field[] = [[0, 4, 0xbebafeca]];
const swap = (value: number) => new DataView(Uint32Array.of(value).buffer).getUint32(0, false);

const IMAGES: [name: string, fields: Field[], size: number][] = [
  [
    "an ELF file ends with its last segment",
    [...ELF, [32, 8, 64], [54, 2, 56], [56, 2, 2], [72, 8, 200], [96, 8, 300], [128, 8, 100]],
    500,
  ],
  [
    "an ELF file ends with its table of sections",
    [...ELF, [40, 8, 700], [58, 2, 64], [60, 2, 3]],
    892,
  ],
  ["an ELF file whose table of segments is not there", [...ELF, [32, 8, 960], [54, 2, 56], [
    56,
    2,
    2,
  ]], 1072],
  ["an ELF file of 32 bits is the loader's", [[0, 4, 0x464c457f], [4, 1, 1], [5, 1, 1]], 0],
  [
    "a Mach-O file ends with its last segment",
    [...MACH, [20, 4, 80], [32, 4, 1], [36, 4, 8], [40, 4, 0x19], [44, 4, 72], [80, 8, 900], [
      88,
      8,
      50,
    ]],
    950,
  ],
  ["a Mach-O file whose commands are not there", [...MACH, [20, 4, 2000]], 2032],
  ["a Mach-O command without length ends the search", [...MACH, [20, 4, 80]], 0],
  [
    "a universal file ends with its last image",
    [...FAT, [4, 4, swap(2)], [16, 4, swap(100)], [20, 4, swap(50)], [36, 4, swap(800)], [
      40,
      4,
      swap(9),
    ]],
    809,
  ],
  [
    "a PE file ends with its last section",
    [...PE, [134, 2, 2], [148, 2, 16], [184, 4, 100], [188, 4, 700], [224, 4, 60], [228, 4, 900]],
    960,
  ],
  ["an MZ file of DOS is the loader's", [[0, 2, 0x5a4d], [60, 4, 128]], 0],
  ["a text is the loader's", [[0, 4, 0x20746f6e]], 0],
  ["a table larger than any library's is the loader's", [...MACH, [20, 4, 0xffffffff]], 0],
  ["a place beyond 2^53 is beyond the file", [...ELF, [40, 8, 2 ** 63]], 2 ** 63],
];

for (const [name, fields, size] of IMAGES) {
  Deno.test(name, () => assertEquals(sizeOf(image(1000, fields)), size));
}

Deno.test("headers that are cut short are not whole, whatever is left of them", () => {
  for (const fields of [ELF, MACH, FAT, PE]) {
    for (let size = 4; size < 8; size++) {
      const bytes = image(1000, fields).slice(0, size);
      assert(sizeOf(bytes) > size, `${bytes}`);
    }
  }
  for (let size = 0; size < 4; size++) assertEquals(sizeOf(image(1000, ELF).slice(0, size)), 0);
});

Deno.test("no bytes at all make the search throw", () => {
  const random = new Uint8Array(1000);
  for (const fields of [ELF, MACH, FAT, PE]) {
    for (let run = 0; run < 500; run++) {
      crypto.getRandomValues(random);
      random.set(image(1000, fields).subarray(0, 6));
      assert(sizeOf(random) >= 0);
    }
  }
});

Deno.test({
  name: "the library that is used here is whole, and each shorter file is not",
  ignore: cpuMissing !== null,
  async fn() {
    const library = openLibrary();
    if ("reason" in library) throw new Error(library.reason);
    const { size } = await Deno.stat(library.path);
    assertEquals(findFlaw(library.path), null);
    assertEquals(findFlaw(library.path, size), null);
    assertEquals(findFlaw(library.path, size + 1)?.kind, "damaged");
    assertEquals(findFlaw(library.path, size - 1)?.kind, "damaged");
    const copy = await Deno.makeTempFile();
    await Deno.copyFile(library.path, copy);
    for (let left = size - 1; left > 100; left = Math.floor(left * 0.8)) {
      await Deno.truncate(copy, left);
      assertEquals(findFlaw(copy)?.kind, "damaged", `${left} of ${size} bytes`);
    }
    await Deno.remove(copy);
  },
});
