/** Safetensors files in Node.js and Bun, as in Deno. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { decodeTensors } from "@descent/sgd/safetensors";
import { temporaryFolder } from "../publish/stage.ts";
import { bundle, runIn, RUNTIMES, testOnRuntimes } from "../support/runtimes.ts";

const pathOf = (name: string) => fromFileUrl(new URL(name, import.meta.url));
const FIXTURES = pathOf("fixtures");

testOnRuntimes(
  RUNTIMES,
  "every dtype, single tensors and sharded models are read and written as in Deno",
  async (runtime) => {
    await using folder = await temporaryFolder();
    const program = join(folder.path, "copier.mjs");
    await bundle(pathOf("copier.ts"), program);
    const target = join(folder.path, "copy.safetensors");
    const { out, err, code } = await runIn(runtime, [program, FIXTURES, target]);
    assertEquals(code, 0, err);
    const { kinds, ...rest } = JSON.parse(out);
    const bytes = await Deno.readFile(join(FIXTURES, "every_dtype.safetensors"));
    assertEquals(await Deno.readFile(target), bytes);
    const expected = Object.fromEntries(
      Object.entries(decodeTensors(bytes)).map(([name, { data }]) => [name, data.constructor.name]),
    );
    for (const [name, kind] of Object.entries(kinds)) {
      const isBytes = name.startsWith("F16.") && !runtime.hasFloat16;
      assertEquals(kind, isBytes ? "Uint8Array" : expected[name], name);
    }
    assertEquals(rest, {
      single: [...new Uint8Array(decodeTensors(bytes)["F32.28"].data.buffer)],
      sharded: { "a.weight": 4, "b.bias": 2, "c.weight": runtime.hasFloat16 ? 2 : 4 },
      metadata: { format: "pt" },
      large: -1, // all are equal
      missing: "ENOENT",
      closed: 'Cannot read tensor "F32.28" as the file has been closed',
    });
    assert([...Deno.readDirSync(folder.path)].length === 3);
  },
);
