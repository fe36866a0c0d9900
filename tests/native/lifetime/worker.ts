/** A worker that steps until it is ended, or ends itself as its name asks for. */

import { delay, stepForEver } from "./stepping.ts";

const [how, elements] = self.name.split(" ");
stepForEver(Number(elements));
await delay(20);
(self as unknown as { postMessage(message: string): void }).postMessage("stepping");
if (how === "close") self.close();
if (how === "throw") setTimeout(() => JSON.parse("{ a broken batch"), 1);
