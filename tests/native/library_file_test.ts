/** Files of libraries that were not copied whole are told by their headers, on every system. */

import { assert, assertEquals } from "@std/assert";
import { requiredSize } from "../../src/native/image.ts";
import type { ReadAt } from "../../src/files/probe.ts";
import { findDamage } from "../../src/native/image_contents.ts";
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

function reading(bytes: Uint8Array<ArrayBuffer>): ReadAt {
  return (at, length) => {
    const part = bytes.subarray(Math.min(at, bytes.length), Math.min(at + length, bytes.length));
    return new DataView(part.buffer, part.byteOffset, part.length);
  };
}

function sizeOf(bytes: Uint8Array<ArrayBuffer>): number {
  return requiredSize(reading(bytes));
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

Deno.test("the search does not throw, whatever the bytes are", () => {
  const random = new Uint8Array(1000);
  for (const fields of [ELF, MACH, FAT, PE]) {
    for (let run = 0; run < 500; run++) {
      crypto.getRandomValues(random);
      random.set(image(1000, fields).subarray(0, 6));
      assert(sizeOf(random) >= 0);
      findDamage(reading(random));
    }
  }
});

Deno.test({
  name: `the library that is used here is whole, and each shorter file is not${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
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

const noLinuxLibrary = cpuMissing ?? (Deno.build.os === "linux" ? null : "not an ELF library");
const skipped = noLinuxLibrary === null ? "" : ` (skipped: ${noLinuxLibrary})`;

Deno.test({
  name: `a library whose end is zeros is damaged, wherever they begin${skipped}`,
  ignore: noLinuxLibrary !== null,
  async fn() {
    const library = openLibrary();
    if ("reason" in library) throw new Error(library.reason);
    const whole = await Deno.readFile(library.path);
    assertEquals(findDamage(reading(whole)), null);
    const path = await Deno.makeTempFile();
    for (let i = 0; i <= 20; i++) {
      const from = Math.floor(4096 + (whole.length - 4096 - 64) * i / 20);
      await Deno.writeFile(path, whole.slice().fill(0, from));
      assertEquals(findFlaw(path)?.kind, "damaged", `zeros from ${from} of ${whole.length} on`);
      assertEquals(findFlaw(path, whole.length)?.kind, "damaged", "the size alone is not enough");
    }
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "-A", "doctor.ts"],
      cwd: new URL("../..", import.meta.url),
      env: { DENO_DESCENT_KERNELS: path },
    });
    const { code, stdout } = await process.output();
    assertEquals(code, 0);
    assert(/damaged: must have its [a-z ]+ at byte [0-9]+/.test(new TextDecoder().decode(stdout)));
    await Deno.remove(path);
  },
});

Deno.test({
  name: `a library with a hole is damaged, where it is in the code or in a table${skipped}`,
  ignore: noLinuxLibrary !== null,
  async fn() {
    const library = openLibrary();
    if ("reason" in library) throw new Error(library.reason);
    const whole = await Deno.readFile(library.path);
    const view = new DataView(whole.buffer);
    const sections = Number(view.getBigUint64(40, true));
    for (let i = 1; i < view.getUint16(60, true); i++) {
      const at = sections + 64 * i;
      const [from, bytes] = [24, 32].map((field) => Number(view.getBigUint64(at + field, true)));
      const [type, flags] = [view.getUint32(at + 4, true), view.getUint32(at + 8, true)];
      const isTable = [3, 4, 6, 11].includes(type) && bytes >= 1024; // strings and the like
      const isCode = type === 1 && (flags & 4) !== 0 && bytes >= 8192;
      if (!isTable && !isCode) continue;
      const middle = from + Math.floor(bytes / 4);
      const holed = whole.slice().fill(
        0,
        isCode ? middle : from,
        isCode ? middle + 8192 : from + bytes,
      );
      assert(findDamage(reading(holed)) !== null, `section ${i} of type ${type}`);
    }
  },
});

/** Files of other systems with 8,192 bytes of code at 1,024, and what is behind it. */
const OTHER_SYSTEMS: [name: string, fields: Field[], code: number, holes: number[]][] = [
  [
    "Mach-O",
    [
      ...[...MACH, [20, 4, 192], [32, 4, 0x19], [36, 4, 152], [144, 8, 8192], [152, 4, 1024]],
      ...[[168, 4, 0x80000400], [184, 4, 2], [188, 4, 24], [192, 4, 9216], [196, 4, 64]],
      ...[[200, 4, 10240], [204, 4, 1024], [208, 4, 0x1d], [212, 4, 16], [216, 4, 11264]],
      ...[[220, 4, 64], [11264, 4, 0xc00cdefa]],
    ] as Field[],
    1024,
    [1024, 9216, 10240, 11264],
  ],
  [
    "PE",
    [
      ...[...PE, [134, 2, 2], [148, 2, 160], [152, 2, 0x20b], [304, 4, 0x9000], [308, 4, 24]],
      ...[[320, 4, 8192], [324, 4, 0x1000], [328, 4, 8192], [332, 4, 1024], [348, 4, 0x20]],
      ...[[360, 4, 24], [364, 4, 0x9000], [368, 4, 512], [372, 4, 9216]],
      ...[[9216, 4, 0x1000], [9220, 4, 12], [9228, 4, 0x2000], [9232, 4, 12]],
    ] as Field[],
    1024,
    [1024, 9216],
  ],
];

for (const [name, fields, code, holes] of OTHER_SYSTEMS) {
  Deno.test(`zeros in the place of what a ${name} file must have are damage`, () => {
    const whole = image(11_328, fields);
    for (let at = code; at < 11_264; at++) {
      if (at < code + 8192 || name === "Mach-O") whole[at] = 1;
    }
    assertEquals(findDamage(reading(whole)), null);
    for (const hole of holes) {
      const damaged = findDamage(reading(whole.slice().fill(0, hole, hole + 4096)));
      assert(damaged !== null, `zeros from ${hole} on`);
    }
  });
}
