/** Trains on the digits in a page, on both backends, and posts how it went. */

import { parseDigits } from "../../examples/digits/dataset.ts";
import { trainBriefly } from "./digits_run.ts";

const digits = parseDigits(await (await fetch("/digits.txt")).text());
const result = {
  js: await trainBriefly("js", digits),
  webgpu: await trainBriefly("webgpu", digits),
};
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
