/** The demo as a job of two ranks: the run of one process that accumulates. */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { readEpochs, train } from "../support/demo_runs.ts";
import { temporaryFolder } from "../publish/stage.ts";
import { launch, testOn } from "./jobs.ts";

/** The run of one process. */
let alone: ReturnType<typeof train> | undefined;

/** What is printed on a terminal, which Open MPI gives its ranks, without the bar of progress. */
function withoutScreen(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]|\r/g, "\n");
}

for (const engine of ["Open MPI", "MPICH"] as const) {
  testOn(
    engine,
    "two ranks run the demo of one process that accumulates, digit for digit",
    async () => {
      await using folder = await temporaryFolder();
      const plot = join(folder.path, "curves.svg");
      const command = [Deno.execPath(), "task", "-q", "demo", "--plot", plot];
      const { code, text, err } = await launch(engine, 2, command);
      assertEquals(code, 0, err);
      alone ??= train("demo", "--accumulate", "2");
      const together = readEpochs(withoutScreen(text));
      assertEquals(together, readEpochs((await alone).out));
      assertEquals(together.loss.length, 30);
      assert(together.accuracy.at(-1)! >= 96, text);
      assert((await Deno.readTextFile(plot)).includes("<svg"));
    },
  );
}
