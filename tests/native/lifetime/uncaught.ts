/** A program that ends by an error that nobody catches. Arguments: how, elements, memory. */

import { delay, stepForEver, waitForEver } from "./stepping.ts";
import type { Memory } from "./stepping.ts";

const [how, elements, memory] = process.argv.slice(2);
if (elements === "none") waitForEver();
else stepForEver(Number(elements), memory as Memory);
await delay(30);
console.log("stepping");
if (how === "at top level") JSON.parse("{ a broken batch");
if (how === "in a timer") setTimeout(() => JSON.parse("{ a broken timer"), 3);
if (how === "as a rejection") Promise.reject(new RangeError("nobody handles this"));
