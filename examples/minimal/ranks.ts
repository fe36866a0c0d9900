/**
 * Data-parallel training: logistic regression, of which each rank computes its part of every batch. It
 * saves after each epoch, and resumes there with any number of ranks.
 *
 *     deno run -A ranks.ts eights.csv
 *     mpirun -n 2 deno run -A ranks.ts eights.csv
 */

import { loadState, saveState, SGD } from "jsr:@descent/sgd@^0.1.0";
import { openWorld } from "jsr:@descent/sgd@^0.1.0/mpi";

// Copy from here ----------------------------------------------------------------------------------

const [table, epochs = "40", path = "ranks.safetensors"] = Deno.args;
using world = openWorld(); // rank 0 of 1 without mpirun
const { training, held } = parse(await Deno.readTextFile(table));
const batch = Math.ceil(32 / world.size) * world.size; // as many examples on each rank
const ownOf = (rows: Row[]) => rows.filter((_, i) => i % world.size === world.rank);

const columns = training[0].x.length;
const w = { name: "w", data: new Float32Array(columns), grad: new Float32Array(columns) };
const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9, world, exchange: "shards" });

let epoch = 0;
try {
  const dict = await loadState(path); // on all ranks, which see the same file
  optimizer.loadStateDict(dict, { parameters: true });
  epoch = Number(dict.metadata!.epoch);
} catch (error) {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

while (epoch < Number(epochs)) {
  const order = shuffle(training, epoch++); // the same on all ranks
  for (let at = 0; at + batch <= order.length; at += batch) { // what is left over is dropped
    for (const { x, y } of ownOf(order.slice(at, at + batch))) {
      const slope = -y / (1 + Math.exp(y * scoreOf(x))); // of the loss with respect to the score
      x.forEach((value, k) => w.grad[k] += slope * value * world.size / batch);
    }
    optimizer.step({ zeroGrad: true }); // along the average of all ranks
  }

  const sums = new Float64Array(3); // loss, correct, count
  for (const { x, y } of ownOf(held)) { // some ranks may have one more
    sums[0] += Math.log1p(Math.exp(-y * scoreOf(x)));
    sums[1] += Number(y * scoreOf(x) > 0);
    sums[2]++;
  }
  const [loss, correct, count] = world.sum(sums); // all ranks call it, and all get the sums
  const report = `loss ${(loss / count).toFixed(4)}  accuracy ${(correct / count).toFixed(3)}`;
  if (world.rank === 0 && epoch % 10 === 0) console.log(`epoch ${epoch}  ${report}`);

  const metadata = { epoch: `${epoch}` };
  await saveState(path, optimizer, { parameters: true, metadata }); // all call it, rank 0 writes
}

// To here -----------------------------------------------------------------------------------------

type Row = { x: number[]; y: number };

function scoreOf(x: number[]): number {
  return x.reduce((sum, value, k) => sum + value * w.data[k], 0);
}

/** Orders rows by a hash of their places and the seed: an equal seed gives an equal order. */
function shuffle(rows: Row[], seed: number): Row[] {
  const mix = (n: number) => Math.imul(n ^ (n >>> 16), 0x45d9f3b);
  const keys = new Map(rows.map((row, i) => [row, mix(mix(mix(i) + seed))]));
  return rows.toSorted((a, b) => keys.get(a)! - keys.get(b)!);
}

/** Reads rows of ink, with 0 or 1 in the last column, and holds every fifth one back. */
function parse(text: string): { training: Row[]; held: Row[] } {
  const lines = text.trim().split(/\r?\n/).slice(1).map((line) => line.split(",").map(Number));
  const rows = lines.map((all) => ({
    y: 2 * all.pop()! - 1,
    x: [1, ...all.map((ink) => ink / 4)],
  }));
  return { training: rows.filter((_, i) => i % 5 > 0), held: rows.filter((_, i) => i % 5 === 0) };
}
