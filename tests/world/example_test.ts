/** `examples/minimal/ranks.ts`, alone and as a job, has one run, and resumes it. */

import { assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { pathToFileURL } from "node:url";
import { join } from "@std/path/join";
import { ENGINES, runJob, testOn } from "./jobs.ts";
import type { Engine } from "./jobs.ts";

const FOLDER = fromFileUrl(new URL("../../examples/minimal/", import.meta.url));

/** A folder with the example, whose package is this repository. */
class Stage implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async make(): Promise<Stage> {
    const folder = await Deno.makeTempDir({ prefix: "descent-ranks-" });
    const text = await Deno.readTextFile(join(FOLDER, "ranks.ts"));
    await Deno.writeTextFile(
      join(folder, "ranks.ts"),
      text.replaceAll("jsr:@descent/sgd@^0.1.0", "@descent/sgd"),
    );
    return new Stage(folder);
  }

  /** Runs the example up to an epoch, with a checkpoint; returns the lines of each rank. */
  async run(engine: Engine, size: number, epochs: number, checkpoint: string) {
    const args = [join(FOLDER, "data/eights.csv"), `${epochs}`, join(this.folder, checkpoint)];
    const ending = await runJob(
      engine,
      size,
      `
      const print = console.log;
      console.log = (text) => print("[" + rankOf() + "] " + text);
      Object.defineProperty(Deno, "args", { value: ${JSON.stringify(args)} });
      await import("${pathToFileURL(join(this.folder, "ranks.ts"))}");
      `,
    );
    assertEquals(ending.code, 0, ending.err);
    return ending.out.map((lines) => lines.split("\n").filter((line) => line !== ""));
  }

  read(checkpoint: string): Promise<Uint8Array> {
    return Deno.readFile(join(this.folder, checkpoint));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Deno.remove(this.folder, { recursive: true });
  }
}

for (const engine of ENGINES) {
  testOn(
    engine,
    "the small example with ranks has the run of one process, and rank 0 prints it",
    async () => {
      await using stage = await Stage.make();
      const [alone] = await stage.run(engine, 1, 40, "alone.safetensors");
      assertEquals(alone.length, 4);
      assertMatch(alone[3], /^epoch 40 {2}loss 0\.1[0-5]\d\d {2}accuracy 0\.9[2-5]\d$/);
      assertEquals(await stage.run(engine, 2, 40, "two.safetensors"), [alone, []]);
    },
  );

  testOn(engine, "the small example with ranks resumes bit for bit, and alone", async () => {
    await using stage = await Stage.make();
    const [whole] = await stage.run(engine, 2, 20, "whole.safetensors");
    await stage.run(engine, 2, 10, "parts.safetensors");
    await Deno.copyFile(
      join(stage.folder, "parts.safetensors"),
      join(stage.folder, "alone.safetensors"),
    );
    assertEquals(await stage.run(engine, 2, 20, "parts.safetensors"), [[whole[1]], []]);
    assertEquals(await stage.read("parts.safetensors"), await stage.read("whole.safetensors"));
    assertEquals(await stage.run(engine, 1, 20, "alone.safetensors"), [[whole[1]]]);
  });
}
