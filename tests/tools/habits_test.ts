/** What the tools of the repository read: reasons for skipping, mutants, tasks. */

import { assertEquals, assertMatch } from "@std/assert";
import { isWording } from "../../tools/check_layers.ts";
import { mutantsOf } from "../../tools/mutate/mutants.ts";
import { countSkipped, NO_REASON } from "../../tools/skipped.ts";

Deno.test("skipped tests are counted by the reason at the end of their names", () => {
  const output = `running 5 tests from ./tests/a_test.ts
one (skipped: no browser) ... ignored (0ms)
two (skipped: /a/b.so does not exist (yet): build it) ... ignored (0ms)
three (in a browser) ... ignored (0ms)
four (skipped: no browser) ... ignored (0ms)
five (skipped: no browser) ... ok (3ms)
`;
  assertEquals(
    countSkipped(output),
    new Map([
      ["no browser", 2],
      ["/a/b.so does not exist (yet): build it", 1],
      [NO_REASON, 1],
    ]),
  );
});

Deno.test("a line that words an error itself is found, and a comment is not", () => {
  const found = [
    '  throw new TypeError("Cannot step as params must not be empty");',
    "    `Cannot use ${name} as it is frozen`,",
    "  return `${reason}: current value is ${shown}`;",
  ];
  const passed = [
    '  throw new TypeError(cannot("step", "params must not be empty"));',
    ' * @param doing The words after "Cannot", such as `step`.',
    '  // "Cannot" comes first.',
    "  return `${name} cannot be read`;",
  ];
  assertEquals(found.map(isWording), found.map(() => true));
  assertEquals(passed.map(isWording), passed.map(() => false));
});

Deno.test("mutants change operators, numbers, negations and branches, and no text", () => {
  const source = `
// 1 + 1
if (!isOpen("a < b") && at >= 0x1f) {
  const x: Map<string, number> = cond ? f(a, 2) : -b; // 3
}`;
  const changed = mutantsOf(source).map(({ start, end, text }) => {
    const from = source.lastIndexOf("\n", start) + 1;
    return (source.slice(from, start) + text + source.slice(end)).split("\n")[0].trim();
  });
  assertEquals(changed, [
    'if (!(!isOpen("a < b") && at >= 0x1f)) {',
    'if (isOpen("a < b") && at >= 0x1f) {',
    'if (!isOpen("a < b") || at >= 0x1f) {',
    'if (!isOpen("a < b") && at > 0x1f) {',
    'if (!isOpen("a < b") && at >= 32) {',
    "const x: Map<string, number> = cond ? -b : f(a, 2); // 3",
    "const x: Map<string, number> = cond ? f(a, 3) : -b; // 3",
    "const x: Map<string, number> = cond ? f(a, 2) : b; // 3",
  ]);
});

Deno.test("the tables of CONTRIBUTING have each task of deno.json once", async () => {
  const root = new URL("../../", import.meta.url);
  const text = await Deno.readTextFile(new URL("CONTRIBUTING.md", root));
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const described = [...text.matchAll(/^\| `deno task ([\w:-]+)` +\|/gm)].map(([, name]) => name);
  assertEquals(described.sort(), Object.keys(tasks).sort());
});

Deno.test("GitHub tests what .ci/run tests, and nothing else", async () => {
  const workflow = new URL("../../.github/workflows/test.yml", import.meta.url);
  const text = await Deno.readTextFile(workflow);
  const job = text.slice(text.indexOf("  test:"), text.indexOf("  asan:"));
  assertEquals([...job.matchAll(/- run: (.*?)(?: #.*)?$/gm)].map(([, line]) => line), [
    "bash .ci/run",
  ]);
});

Deno.test("GitHub compares the speed of pull requests with their base, and does not block them", async () => {
  const workflow = new URL("../../.github/workflows/bench.yml", import.meta.url);
  const text = await Deno.readTextFile(workflow);
  assertMatch(text, /^on:\n {2}pull_request:$/m);
  assertMatch(text, /^ {4}continue-on-error: true/m);
  assertEquals([...text.matchAll(/- run: (.*)$/gm)].map(([, line]) => line), [
    'deno task bench:compare --save --baseline "$RUNNER_TEMP/base.json"',
    'deno task bench:compare --baseline "$RUNNER_TEMP/base.json" --summary "$GITHUB_STEP_SUMMARY"',
  ]);
});
