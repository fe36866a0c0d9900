/** The message that all ranks throw when they differ. */

import { assert, assertEquals } from "@std/assert";
import type { Fact } from "../../src/core/exchange.ts";
import { explain, hasEnded } from "../../src/world/details.ts";
import { bytesOfText, textOf } from "../../src/world/texts.ts";
import type { Details } from "../../src/world/details.ts";

/** What a rank says first, and the facts that it can tell. */
interface Rank extends Omit<Details, "facts"> {
  readonly facts: readonly Fact[];
}

const step = (more: Partial<Rank> = {}): Rank => ({ doing: "step", step: 4, facts: [], ...more });
const w = (text: string) => [{ what: 'parameter 3 ("w")', text }];
const self = (text: string) => [{ what: "", text }];

const CASES: Readonly<Record<string, { all: Rank[]; message: string; ended?: boolean }>> = {
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
  },
  "a rank that verifies": {
    all: [step(), step({ doing: "verify" })],
    message: "Cannot step as rank 0 steps while rank 1 verifies",
  },
  "ranks of which one is behind": {
    all: [step(), step(), step({ step: 3 })],
    message: "Cannot step as rank 0 has taken 4 steps and rank 2 has taken 3",
  },
  "a rank that is one step ahead": {
    all: [step({ step: 1 }), step({ step: 2 })],
    message: "Cannot step as rank 0 has taken 1 step and rank 1 has taken 2",
  },
  "a rank that cannot do what all are to do": {
    all: [step({ facts: w("is") }), step({ obstacle: "the file is gone" })],
    message: "Cannot step as rank 1 reports an error: the file is gone",
  },
  "a parameter of another length": {
    all: [step({ facts: w("has 10007 elements") }), step({ facts: w("has 10008 elements") })],
    message: 'Cannot step as parameter 3 ("w") has 10007 elements on rank 0 and ' +
      "10008 on rank 1",
  },
  "other numbers of something": {
    all: [step({ facts: w("has 1 parameter") }), step({ facts: w("has 2 parameters") })],
    message: 'Cannot step as parameter 3 ("w") has 1 parameter on rank 0 and ' +
      "2 parameters on rank 1",
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
  },
  "texts that have nothing in common": {
    all: [step({ facts: w("is an array") }), step({ facts: w("has gone") })],
    message: 'Cannot step as parameter 3 ("w") is an array on rank 0 and has gone on rank 1',
  },
  "what ranks do in other ways": {
    all: [step({ facts: self("calls step") }), step({ facts: self("calls stepAsync") })],
    message: "Cannot step as rank 0 calls step and rank 1 calls stepAsync",
  },
  "a parameter that one rank has only": {
    all: [step(), step({ facts: w("has 7 elements") })],
    message: 'Cannot step as parameter 3 ("w") does not exist on rank 0 and ' +
      "has 7 elements on rank 1",
  },
  "ranks that differ in nothing that they can tell": {
    all: [step({ facts: w("is there") }), step({ facts: w("is there") })],
    message: "Cannot step as the ranks run different versions of the library",
  },
  "one of very many facts": {
    all: [0, 1, 1].map((rank) =>
      step({
        facts: Array.from({ length: 20_000 }, (_, i) => ({
          what: `parameter ${i}`,
          text: `has ${i === 17_777 ? rank : 5} elements`,
        })),
      })
    ),
    message: "Cannot step as parameter 17777 has 0 elements on rank 0 and 1 on rank 1",
  },
  "very long texts": {
    all: [1, 2].map((i) => step({ facts: w(`is ${i} ${"long ".repeat(100_000)}`) })),
    message: `Cannot step as parameter 3 ("w") is 1 ${
      "long ".repeat(99)
    }... on rank 0 and 2 on rank 1`,
  },
};

/** The messages of all ranks, and the most bytes that one of them has told at a time. */
function tellEachOther(
  all: readonly Rank[],
): { messages: string[]; heard: Details[]; most: number } {
  let most = 0;
  const hear = (texts: readonly string[]) =>
    texts.map((text) => {
      const bytes = bytesOfText(text);
      most = Math.max(most, bytes.length);
      return textOf(bytes);
    });
  const first = all.map(({ facts, ...rest }) => JSON.stringify({ ...rest, facts: facts.length }));
  const heard: Details[] = hear(first).map((text) => JSON.parse(text));
  const ranks = all.map(({ facts }) => explain(heard, facts));
  let said = ranks.map((rank) => rank.next());
  while (said.some(({ done }) => !done)) {
    const told = hear(said.map(({ value }) => value));
    said = ranks.map((rank) => rank.next(told));
  }
  return { messages: said.map(({ value }) => value), heard, most };
}

for (const [name, { all, message, ended = false }] of Object.entries(CASES)) {
  Deno.test(`the message for ${name} is the same on all ranks, which tell each other little`, () => {
    const { messages, heard, most } = tellEachOther(all);
    assertEquals(messages, all.map(() => message));
    assertEquals(hasEnded(heard), ended);
    assert(most < 4096, `a rank has told ${most} bytes`);
  });
}
