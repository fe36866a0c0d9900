/** Which Python measures torch. */

import { refuse } from "../flags.ts";

/**
 * A Python that has torch; null, and why on the screen, if there is none. Ends the program if the one
 * that was asked for cannot be started.
 *
 * @param asked The value of `--python`, if it was given.
 * @param hint How to get torch, which is shown where it is missing.
 */
export async function findPython(asked: string | undefined, hint = ""): Promise<string | null> {
  const python = asked ?? Deno.env.get("DESCENT_PYTHON") ?? "python3";
  const obstacle = await findObstacle(python);
  if (obstacle !== null && asked !== undefined) {
    refuse(`Cannot set --python as it must be a program: ${python} ${obstacle}`);
  }
  if (obstacle === null && await hasTorch(python)) return python;
  console.log(`torch is not measured: ${python} ${obstacle ?? "does not have it"}.${hint}`);
  return null;
}

/** Why a program cannot be started; null if it can. */
async function findObstacle(program: string): Promise<string | null> {
  try {
    await new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" })
      .output();
    return null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "does not exist";
    return `cannot be started (${(error as Error).message})`;
  }
}

async function hasTorch(python: string): Promise<boolean> {
  const args = ["-c", "import torch"];
  return (await new Deno.Command(python, { args, stderr: "null" }).output()).success;
}
