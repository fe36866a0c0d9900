/** Parameters, gradients and state in every format: the backends of the host have the same bits. */

import { assertEquals } from "@std/assert";
import { cpuMissing } from "../support/backends.ts";
import { digestSteps, formatCases, nameOfCase } from "./formats_run.ts";

function nativeTest(name: string, fn: () => Promise<void>): void {
  const ignore = cpuMissing !== null;
  Deno.test({ name: ignore ? `${name} (skipped: ${cpuMissing})` : name, ignore, fn });
}

for (const each of formatCases) {
  nativeTest(`cpu and js have the same bits: ${nameOfCase(each)}`, async () => {
    assertEquals(await digestSteps(each, "js"), await digestSteps(each, "cpu"));
  });
  if (each.options.momentumBits !== 8) continue;

  Deno.test(`js: stepAsync has the bits of step: ${nameOfCase(each)}`, async () => {
    assertEquals(await digestSteps(each, "js", true), await digestSteps(each, "js"));
  });
}

Deno.test("js has the same bits without WebAssembly, in every format", async () => {
  const program = new URL("formats_run.ts", import.meta.url).href;
  const args = ["run", "-q", "--no-check", "-A", program];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  const text = new TextDecoder();
  assertEquals(success, true, text.decode(stderr));
  const { hasWebAssembly, digests } = JSON.parse(text.decode(stdout));
  assertEquals(hasWebAssembly, false);
  for (const [i, each] of formatCases.entries()) {
    assertEquals(digests[i], await digestSteps(each, "js"), nameOfCase(each));
  }
});
