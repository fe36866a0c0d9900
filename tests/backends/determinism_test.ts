/** Neither the number of threads nor the SIMD level changes a bit; settings that are not valid throw. */

import { assert, assertEquals } from "@std/assert";
import { cpuMissing } from "../support/backends.ts";
import type { Report } from "./determinism_run.ts";

async function run(env: Record<string, string>): Promise<Report> {
  const script = new URL("determinism_run.ts", import.meta.url).href;
  const args = ["run", "-q", "--no-prompt", "--allow-ffi", "--allow-read", "--allow-env", script];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, env }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals(code, 0, text(stderr));
  return JSON.parse(text(stdout));
}

function nativeTest(name: string, fn: () => Promise<void>): void {
  const ignore = cpuMissing !== null;
  Deno.test({ name: ignore ? `${name} (skipped: ${cpuMissing})` : name, ignore, fn });
}

/** The levels that the library has here, as its error message lists them. */
async function availableLevels(): Promise<string[]> {
  const { got } = await run({ DESCENT_SIMD: "mmx" });
  const list = got.cpu.match(/^RangeError: .* has only (.*): current value is "mmx"$/);
  assert(list !== null, got.cpu);
  return list![1].split(", ");
}

nativeTest("the numbers are the same for every SIMD level and number of threads", async () => {
  const { numbers } = await run({ DESCENT_THREADS: "", DESCENT_SIMD: "" });
  assert(numbers?.intact, "written past the end of an array");
  assert(numbers!.norms.every((norm) => norm! > 0 && norm! < Infinity), `${numbers!.norms}`);
  const levels = await availableLevels();
  assert(levels.includes(numbers!.simd), "the default level is one of those available");
  for (const threads of [1, 2, 3, 5]) {
    const reports = levels.map((simd) =>
      run({ DESCENT_THREADS: `${threads}`, DESCENT_SIMD: simd })
    );
    for (const [i, report] of (await Promise.all(reports)).entries()) {
      assertEquals(report.numbers, { ...numbers, simd: levels[i], threads });
    }
  }
});

nativeTest("a SIMD level that this processor does not have is an error", async () => {
  const levels = await availableLevels();
  assert(levels.includes("portable"));
  for (const level of ["portable", "avx2", "avx512", "neon", "AVX2", "sse"]) {
    if (levels.includes(level)) continue;
    const { got } = await run({ DESCENT_SIMD: level });
    for (const error of [got.cpu, got.auto]) {
      assert(error.startsWith("RangeError: "), error);
      for (const word of ["DESCENT_SIMD", `"${level}"`, ...levels]) {
        assert(error.includes(word), error);
      }
    }
  }
});

nativeTest("an invalid number of threads is an error, for auto too", async () => {
  const values = ["0", "-1", "two", "1.5", "1025", "99999", "2 3", "0x2"];
  const reports = await Promise.all(values.map((value) => run({ DESCENT_THREADS: value })));
  reports.forEach(({ got, numbers }, i) => {
    assertEquals(numbers, undefined);
    assertEquals(got.js, "js", "the js backend does not read it");
    for (const error of [got.cpu, got.auto]) {
      assert(error.startsWith("RangeError: "), error);
      for (const word of ["DESCENT_THREADS", `"${values[i]}"`, "1 to 1024"]) {
        assert(error.includes(word), error);
      }
    }
  });
});
