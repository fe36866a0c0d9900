/** The message that all ranks throw when they differ. */

import { assertEquals } from "@std/assert";
import { decodeDetails, encodeDetails, explain, hasEnded } from "../../src/world/details.ts";
import type { Details } from "../../src/world/details.ts";

const step = (more: Partial<Details> = {}): Details => ({
  doing: "step",
  step: 4,
  facts: [],
  ...more,
});
const w = (text: string) => [{ what: 'parameter 3 ("w")', text }];

const CASES: Readonly<Record<string, { all: Details[]; message: string; ended: boolean }>> = {
  "a rank that has ended": {
    all: [step(), step({ doing: null, step: 3 })],
    message: "Cannot step as rank 1 has ended at step 3",
    ended: true,
  },
  "a rank that has ended before it stepped": {
    all: [step({ doing: null, step: 0 }), step({ step: 0 })],
    message: "Cannot step as rank 0 has ended before its first step",
    ended: true,
  },
  "a rank that has failed, before one that has only ended": {
    all: [step({ doing: null }), step({ doing: null, failure: "Error: no data" }), step()],
    message: "Cannot step as rank 1 has failed at step 4: Error: no data",
    ended: true,
  },
  "ranks that do different things": {
    all: [step({ doing: "save" }), step(), step()],
    message: "Cannot save as rank 0 saves while rank 1 steps",
    ended: false,
  },
  "ranks of which one is behind": {
    all: [step(), step(), step({ step: 3 })],
    message: "Cannot step as rank 0 has taken 4 steps and rank 2 3",
    ended: false,
  },
  "a parameter of another length": {
    all: [step({ facts: w("has 10007 elements") }), step({ facts: w("has 10008 elements") })],
    message: 'Cannot step as parameter 3 ("w") has 10007 elements on rank 0 and ' +
      "10008 on rank 1",
    ended: false,
  },
  "a parameter of another length, of which it is known what it belongs to, with a remedy": {
    all: [10007, 10008].map((length) =>
      step({
        facts: [{
          ...{ of: "parameters", what: 'parameter 3 ("w")', text: `has ${length} elements` },
          remedy: "use one model",
        }],
      })
    ),
    message: "Cannot step as the parameters differ between the ranks: " +
      'parameter 3 ("w") has 10007 elements on rank 0 and 10008 on rank 1: use one model',
    ended: false,
  },
  "texts that have nothing in common": {
    all: [step({ facts: w("is an array") }), step({ facts: w("has gone") })],
    message: 'Cannot step as parameter 3 ("w") is an array on rank 0 and has gone on rank 1',
    ended: false,
  },
  "a parameter that one rank has only": {
    all: [step(), step({ facts: w("has 7 elements") })],
    message: 'Cannot step as parameter 3 ("w") does not exist on rank 0 and ' +
      "has 7 elements on rank 1",
    ended: false,
  },
};

for (const [name, { all, message, ended }] of Object.entries(CASES)) {
  Deno.test(`the message for ${name} is the same on all ranks`, () => {
    const heard = all.map((details) => decodeDetails(encodeDetails(details)));
    assertEquals(explain(heard), message);
    assertEquals(hasEnded(heard), ended);
  });
}
