/** Runs of the demos, and what they print and draw. */

import { assert, assertEquals } from "@std/assert";
import { DOMParser } from "@xmldom/xmldom";

const ROOT = new URL("../..", import.meta.url);

/** How a process ended, and what it said. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `deno` in the repository, or in another folder. */
export async function deno(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd: URL | string = ROOT,
): Promise<Outcome> {
  const command = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** Copies what the demo needs into a folder, as a clone has it that was never built. */
export async function copyClone(folder: string): Promise<void> {
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const entries = Object.values<string>(exports);
  for (const path of ["deno.json", "deno.lock", ...entries, "src", "examples", "tools"]) {
    await copy(new URL(path, ROOT), `${folder}/${path}`);
  }
}

async function copy(from: URL, to: string): Promise<void> {
  if (!(await Deno.stat(from)).isDirectory) return await Deno.copyFile(from, to);
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) {
    await copy(new URL(`${from}/${name}`), `${to}/${name}`);
  }
}

/** Runs a task that trains, with a picture in a folder of its own; it has to succeed. */
export async function train(task: string, ...args: string[]): Promise<Outcome & { svg: string }> {
  const folder = await Deno.makeTempDir();
  try {
    const plot = `${folder}/new/curves.svg`;
    const outcome = await deno(["task", "-q", task, "--plot", plot, ...args]);
    assertEquals(outcome.code, 0, outcome.err);
    return { ...outcome, svg: await Deno.readTextFile(plot) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The numbers of all epochs. */
export interface Epochs {
  readonly loss: number[];
  readonly testLoss: number[];
  readonly accuracy: number[];
}

/** Reads the lines of the epochs, which have to be all there. */
export function readEpochs(out: string): Epochs {
  const line = /^epoch +(\d+)\/\d+ {2}loss (\S+) {2}test loss (\S+) {2}test accuracy +(\S+) %$/gm;
  const rows = [...out.matchAll(line)].map((match) => match.slice(1).map(Number));
  assertEquals(rows.map(([epoch]) => epoch), rows.map((_, i) => i + 1));
  return {
    loss: rows.map((row) => row[1]),
    testLoss: rows.map((row) => row[2]),
    accuracy: rows.map((row) => row[3]),
  };
}

/** The curves of a picture: the heights of the points of each long line. */
export function readCurves(svg: string): number[][] {
  const document = new DOMParser().parseFromString(svg, "image/svg+xml");
  const paths = Array.from(document.getElementsByTagName("path"));
  return paths
    .map((path) => [...(path.getAttribute("d") ?? "").matchAll(/[ML]\S+ ([^ML\s]+)/g)])
    .filter((points) => points.length > 2)
    .map((points) => points.map((point) => Number(point[1])));
}

/** Asserts that a curve has the shape of these values. */
export function assertDraws(heights: readonly number[], values: readonly number[]): void {
  assertEquals(heights.length, values.length);
  const low = values.indexOf(Math.min(...values));
  const high = values.indexOf(Math.max(...values));
  const slope = (heights[high] - heights[low]) / (values[high] - values[low]);
  assert(slope < 0, "higher values stand higher, so at smaller y");
  for (const [i, value] of values.entries()) {
    const expected = heights[low] + slope * (value - values[low]);
    assert(
      Math.abs(heights[i] - expected) < 0.5,
      `point ${i} is at ${heights[i]}, not ${expected}`,
    );
  }
}
