/**
 * Runs everything that a change has to pass and counts it: `deno task test`.
 *
 * Builds the kernels, checks formats, lints, types, layers and docs on both sides, and runs the Rust
 * tests, the documentation's examples and the Deno tests. Each reason for skipping tests is printed
 * once, with their number. The last line is `N passed, N failed, N skipped`; the exit code is 1 if
 * anything failed. `tools/test.ts rust`, `docs` or `check` runs one part; `ts` takes files of tests.
 */

import { buildKernels } from "./build.ts";
import { finish, runStages } from "./stage.ts";
import { stagesOf } from "./stages.ts";
import type { Part } from "./stages.ts";

const [part, ...files] = Deno.args as [Part?, ...string[]];
const hasCargo = await buildKernels();
if (!hasCargo) console.log("The Rust checks and the tests of the cpu backend are skipped.");
const parts: readonly Part[] = hasCargo ? ["rust", "check", "docs", "ts"] : ["check", "docs", "ts"];
const stages = part === undefined ? parts.flatMap((one) => stagesOf(one)) : stagesOf(part, files);
finish(await runStages(stages));
