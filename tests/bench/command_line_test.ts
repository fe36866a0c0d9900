/** The command lines of the benchmarks: what they print before anything is built or measured. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";

const ROOT = new URL("../..", import.meta.url);

async function runDeno(args: readonly string[], env: Record<string, string> = {}) {
  const command = new Deno.Command(Deno.execPath(), {
    ...{ args: ["run", "-q", "-A", ...args], cwd: ROOT },
    env: { ...env, NO_COLOR: "1" },
  });
  const { code, stdout, stderr } = await command.output();
  const read = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { code, stdout: read(stdout), stderr: read(stderr) };
}

Deno.test("each task that measures builds first, but for --help", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  for (const [name, { command, dependencies }] of Object.entries<Record<string, string>>(tasks)) {
    if (!name.startsWith("bench")) continue;
    assertStringIncludes(command, "tools/run_built.ts");
    assertEquals(dependencies, undefined);
  }
  const empty = await Deno.makeTempDir();
  const bytes = ["tools/run_built.ts", "-A", "bench/bytes.ts"];
  const help = await runDeno([...bytes, "--help"], { PATH: empty });
  assert(help.stdout.startsWith("Measures formats"), help.stdout);
  const measuring = await runDeno([...bytes, "--only", "no such row"], { PATH: empty });
  assertStringIncludes(measuring.stdout, "cargo is not installed");
  assertEquals(measuring.code, 2);
  await Deno.remove(empty);
});

/** Command lines, and the last line of what is printed about them. */
const REFUSED: readonly (readonly [args: readonly string[], last: string])[] = [
  [["bench/bytes.ts", "--unknown", "x"], "Cannot read --unknown as it is not an option"],
  [["bench/bytes.ts", "--only"], "Cannot read --only as its value is missing"],
  [["bench/main.ts", "--only", "zz"], 'Cannot measure as no row has "zz" in its name'],
  [["bench/bytes.ts", "--only", "zz"], 'Cannot measure as no row has "zz" in its name'],
  [["bench/peers.ts", "--only", "zz"], 'Cannot measure as no row has "zz" in its name'],
  [
    ["bench/sparse.ts", "--python", "no/such/python"],
    "Cannot set --python as it must be a program: no/such/python does not exist",
  ],
  [
    ["bench/history.ts", "--since", "no-such-commit"],
    "Cannot measure since no-such-commit as the repository has no such commit",
  ],
];

for (const [args, last] of REFUSED) {
  Deno.test(`the last line about ${args.join(" ")} says what is wrong`, async () => {
    const { code, stderr } = await runDeno(args);
    assertEquals(stderr.split("\n").at(-1), last);
    assertEquals(code, 2);
  });
}

Deno.test("a processor that the history lacks is refused, and those that it has are named", async () => {
  const file = await Deno.makeTempFile();
  const rows = { "a: b": { ratio: 1, noise: 0.01, reference: "roofline", busy: false } };
  const entry = { commit: "c".repeat(40), date: "2026-01-01", subject: "s", processor: "Z80" };
  const setting = { deno: "2", measured: "2026-01-01", runs: 1, only: "" };
  await Deno.writeTextFile(file, JSON.stringify({ ...entry, ...setting, rows }) + "\n");
  const args = ["bench/history.ts", "--draw", "--history", file, "--processor", "6502"];
  const { code, stderr } = await runDeno(args);
  assertEquals(stderr, 'The history has nothing of "6502"; its processors: "Z80"');
  assertEquals(code, 2);
  await Deno.remove(file);
});
