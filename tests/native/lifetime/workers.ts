/** A program whose workers end while they step. Arguments: how, elements, how many workers. */

import { delay } from "./stepping.ts";

const [how, elements, count] = process.argv.slice(2);
let errors = 0;
for (let i = 0; i < Number(count); i++) {
  const name = `${how} ${elements}`;
  const worker = new Worker(import.meta.resolve("./worker.ts"), { type: "module", name });
  const failed = new Promise<void>((resolve) => {
    worker.onerror = (event) => {
      event.preventDefault();
      errors++;
      resolve();
    };
  });
  await new Promise((resolve) => worker.onmessage = resolve);
  if (how === "terminate") worker.terminate();
  if (how === "throw") await failed;
  await delay(20);
}
console.log(`main lives, ${errors} errors`);
