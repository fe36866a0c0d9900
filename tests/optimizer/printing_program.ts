/** Prints one object of each kind that consoles show. */

import { BFloat16Array, GradScaler, SGD, WeightAverage } from "@descent/sgd";
import { exponentialLR, LRScheduler, ReduceLROnPlateau } from "@descent/sgd/schedules";

const weights = { data: new Float32Array(6), grad: null, name: "weights", shape: [3, 2] };
const bias = { data: BFloat16Array.of(0.5, -1.5, 3), grad: null, name: "bias" };
const optimizer = new SGD<BFloat16Array>(
  [{ params: [weights], weightDecay: 0.01 }, { params: [bias], lr: 0.2 }],
  { lr: 0.1, momentum: 0.9, backend: "js" },
);
const scheduler = new LRScheduler(optimizer, exponentialLR({ gamma: 0.5 }));
scheduler.step();
const average = new WeightAverage([weights, bias], { decay: 0.5, backend: "js" });
average.update();

console.log(optimizer);
console.log(optimizer.paramGroups[1]);
console.log(scheduler);
console.log(new ReduceLROnPlateau(optimizer, { factor: 0.5, patience: 3 }));
console.log(new GradScaler());
console.log(new GradScaler({ enabled: false }));
console.log(average);
console.log(bias.data);
console.log({ data: bias.data, scheduler });
console.log(JSON.stringify({ optimizer, group: optimizer.paramGroups[1] }));
