/** The options of a step, as the ranks of a world compare them. */

import type { Fact, Topic } from "../core/exchange.ts";
import type { StepRequest } from "./options.ts";

/** An option as a number, and what the number says. */
interface Option {
  readonly what: string;
  readonly read: (request: StepRequest) => number;
  readonly show?: (value: number) => unknown;
}

const isTrue = (value: number) => value !== 0;

const OPTIONS: readonly Option[] = [
  { what: "gradScale", read: ({ gradScale }) => gradScale },
  {
    ...{ what: "maxNorm", read: ({ maxNorm }) => maxNorm ?? -1 },
    show: (value) => value < 0 ? null : value,
  },
  { what: "normType", read: ({ normType }) => normType },
  {
    ...{ what: "maxNormPer", read: ({ perGroup }) => Number(perGroup) },
    show: (value) => isTrue(value) ? "group" : "optimizer",
  },
  { what: "maxValue", read: ({ maxValue }) => maxValue },
  {
    ...{ what: "what scaler.unscale has found", read: ({ isSkipped }) => Number(isSkipped) },
    show: (value) => isTrue(value) ? "infinite or NaN" : "finite",
  },
  { what: "checkFinite", read: ({ checkFinite }) => Number(checkFinite), show: isTrue },
  { what: "zeroGrad", read: ({ zeroGrad }) => Number(zeroGrad), show: isTrue },
];

/** How a step is taken. */
interface Manner {
  readonly isAsync: boolean;
  /** Whether an average needs the master weights of all ranks. */
  readonly gathers: boolean;
}

/** The options of a step, and how it is taken. */
export function requestTopic(
  request: StepRequest,
  { isAsync, gathers }: Manner,
): Topic {
  const numbers = new Float64Array(OPTIONS.length + 2);
  for (let i = 0; i < OPTIONS.length; i++) numbers[i] = OPTIONS[i].read(request);
  numbers.set([isAsync, gathers].map(Number), OPTIONS.length);
  return {
    numbers,
    stride: numbers.length,
    facts: () => [
      { what: "", text: `calls ${isAsync ? "stepAsync" : "step"}` },
      ...OPTIONS.map(({ what, show = (value) => value }, i): Fact => {
        return { of: "options", what, text: `is ${show(numbers[i])}` };
      }),
      { of: "options", what: "average", text: gathers ? "is given" : "is not given" },
    ],
  };
}
