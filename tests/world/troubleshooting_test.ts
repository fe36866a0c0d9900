/** The messages that docs/troubleshooting.md has for several processes are those that ranks get. */

import { assert, assertMatch } from "@std/assert";
import { runJob, testOn } from "./jobs.ts";

const page = await Deno.readTextFile(new URL("../../docs/troubleshooting.md", import.meta.url));

/** The messages in the table, the placeholders and numbers of which stand for any. */
const messages = Array.from(
  page.split("\n## More than one process\n")[1].matchAll(/^\| `(.*?)`/gm),
  ([, text]) => text,
);

function patternOf(text: string): RegExp {
  const pattern = text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll("…", ".*");
  return RegExp(pattern.replaceAll(/\d+(\\\.\d+)?/g, "\\d+(\\.\\d+)?"));
}

const MODEL = `
using world = openWorld({ timeout: 1000 });
const w = { data: new Float32Array(2), grad: new Float32Array(2), name: "w" };
const optimizer = new SGD([w], { lr: 0.1, world, exchange: "shards" });
const { saveState } = await import("${new URL("../../mod.ts", import.meta.url)}");
`;

/** What a program does wrong, and a part of the message that the page has for it. */
const FAULTS: readonly (readonly [fault: string, part: string, program: string])[] = [
  [
    "a rank with fewer batches",
    "has ended at step",
    `${MODEL} for (let i = 0; i < 5 - world.rank; i++) optimizer.step();`,
  ],
  [
    "a save on one rank",
    "saves while rank 1 steps",
    `${MODEL} if (world.rank === 0) await saveState("never.safetensors", optimizer); optimizer.step();`,
  ],
  [
    "a checkpoint on one rank",
    "loads the state while rank 1 steps",
    `${MODEL} if (world.rank === 0) optimizer.loadStateDict(new SGD([w], { lr: 1 }).stateDict()); optimizer.step();`,
  ],
  [
    "a gradient on one rank",
    "is an array on rank 0 and null on rank 1",
    `${MODEL} if (world.rank === 1) w.grad = null; optimizer.step();`,
  ],
  [
    "a schedule on one rank",
    "lr of group 0",
    `${MODEL} if (world.rank === 1) optimizer.paramGroups[0].lr = 0.05; optimizer.step();`,
  ],
  [
    "a long evaluation on one rank",
    "the timeout of the world",
    `${MODEL} optimizer.step(); if (world.rank === 0) await pause(4000); optimizer.step();`,
  ],
  ["too little shared memory", "/dev/shm", `${MODEL} world.zeros(2 ** 45, "float64");`],
  [
    "the js backend",
    'it needs backend "cpu"',
    `using world = openWorld();
    new SGD([{ data: new Float32Array(1), grad: null }], { lr: 1, world, backend: "js" });`,
  ],
];

for (const [fault, part, program] of FAULTS) {
  const obstacle = part === "/dev/shm" && Deno.build.os !== "linux" ? "needs Linux" : null;
  testOn("files", `the page of troubleshooting has the message of ${fault}`, async () => {
    const message = messages.find((message) => message.includes(part)) ?? "";
    assert(message !== "", part);
    const { code, err } = await runJob("files", 2, program);
    assert(code !== 0);
    assertMatch(err, patternOf(message));
  }, obstacle);
}
