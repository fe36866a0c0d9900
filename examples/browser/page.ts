/**
 * The page of `deno task demo:browser`: it trains, and draws the curves as they grow. In its address,
 * `?js` begins without WebGPU, and `?epochs=3` ends after 3 epochs.
 */

import { parseDigits } from "../digits/dataset.ts";
import { drawCurves } from "../digits/plot.ts";
import type { EpochResult } from "../digits/plot.ts";
import { epochLine } from "../digits/report.ts";
import { begin } from "./training.ts";
import type { Place } from "./training.ts";

/** What the page uses of a browser's types, which Deno does not have. */
interface Element {
  textContent: string | null;
  innerHTML: string;
  value: string;
  disabled: boolean;
  addEventListener(event: string, listener: () => void): void;
}

interface Page {
  getElementById(id: string): Element;
}

const { document: page, location, setTimeout } = globalThis as unknown as {
  document: Page;
  location: { search: string };
  setTimeout(run: () => void, ms: number): void;
};
const query = new URLSearchParams(location.search);
const epochs = Number(query.get("epochs") ?? 30);
const place = page.getElementById("place");
const start = page.getElementById("start");
const status = page.getElementById("status");
const curves = page.getElementById("curves");

/** Lets the browser draw. */
const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

async function train(): Promise<void> {
  const digits = parseDigits(await (await fetch("/digits.txt")).text());
  const run = await begin(place.value as Place, digits);
  const history: EpochResult[] = [];
  const begun = performance.now();
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const result = await run.epoch(epoch);
    history.push(result);
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    status.textContent = `${epochLine(result, epochs)}  ${seconds} s`;
    curves.innerHTML = drawCurves(
      `Training on handwritten digits, on ${run.name}`,
      "SGD, lr 0.1, momentum 0.9, weight decay 0.0001, batch 32, seed 1",
      history,
    );
    await pause();
  }
  run.end();
}

async function startTraining(): Promise<void> {
  start.disabled = true;
  curves.innerHTML = "";
  status.textContent = "starting ...";
  try {
    await train();
  } catch (error) {
    status.textContent = (error as Error).message;
  }
  start.disabled = false;
}

start.addEventListener("click", startTraining);
const adapter = await navigator.gpu?.requestAdapter() ?? null;
if (adapter === null || query.has("js")) place.value = "js";
startTraining();
