/**
 * What importing Descent costs a program, in milliseconds: `deno run -A bench/import_cost.ts`.
 *
 * Each sample is a new process with a warm module cache, as every start of a program but the first.
 */

const SAMPLES = 21;
const mod = new URL("../mod.ts", import.meta.url);
const program = `const start = performance.now();
await import("${mod}");
console.log(performance.now() - start);`;

async function sample(file: string): Promise<number> {
  const args = ["run", "--no-prompt", "--no-check", "--quiet", file];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
  return Number(new TextDecoder().decode(stdout));
}

const file = await Deno.makeTempFile({ suffix: ".mjs" });
try {
  await Deno.writeTextFile(file, program);
  await sample(file);
  const times: number[] = [];
  for (let i = 0; i < SAMPLES; i++) times.push(await sample(file));
  times.sort((a, b) => a - b);
  const [least, median] = [times[0], times[SAMPLES >> 1]].map((time) => time.toFixed(1));
  console.log(
    `Importing takes ${median} ms (median of ${SAMPLES}; least ${least} ms); limit: 15 ms`,
  );
} finally {
  await Deno.remove(file);
}
