/** A short training whose result can be differentiated by its learning rate. */

import { SGD } from "@descent/sgd";
import type { BackendName } from "@descent/sgd";
import type { Dataset } from "../digits/dataset.ts";
import { curvatureAlong, gradientOf, lossOf, WEIGHTS } from "./softmax.ts";

/** Steps of the training. */
export const STEPS = 20;

/** What the training is judged by. */
export interface Result {
  /** The loss on the images that were held out, after the last step. */
  readonly loss: number;
  /** Its derivative with respect to the learning rate, if that was asked for. */
  readonly slope: number;
}

/** Trains on some images from zero weights, and judges on others. */
export function train(
  lr: number,
  { train, held }: { train: Dataset; held: Dataset },
  differentiable: boolean,
  backend?: "auto" | BackendName,
): Result {
  const w = { data: new Float64Array(WEIGHTS), grad: new Float64Array(WEIGHTS) };
  const optimizer = new SGD([w], { lr, momentum: 0.9, differentiable, backend });
  for (let step = 0; step < STEPS; step++) {
    w.grad = gradientOf(w.data, train);
    optimizer.step();
  }
  const loss = lossOf(w.data, held);
  if (!differentiable) return { loss, slope: NaN };
  const { groups } = optimizer.backward(new Map([[w, gradientOf(w.data, held)]]), {
    // A step's gradient was taken at the weights before it, so its cotangent is propagated to them.
    through({ params }) {
      const { data, gradCotangent, paramCotangent } = params.get(w)!;
      const added = curvatureAlong(data as typeof w.data, train, gradCotangent as typeof w.data);
      added.forEach((x, i) => paramCotangent[i] += x);
    },
  });
  return { loss, slope: groups[0].lr };
}
