/**
 * Training the digits network with momentum in 8 bits and split master weights: in a few epochs, what
 * the accuracy study (`deno task bench:accuracy`) finds in thirty.
 */

import { type BFloat16Array, type HostArray, type Parameter, SGD } from "@descent/sgd";
import { assert, assertEquals } from "@std/assert";
import { Model } from "../../bench/accuracy/model.ts";
import { REFERENCE, type Scheme, SCHEMES } from "../../bench/accuracy/schemes.ts";
import { SETTINGS, Training } from "../../bench/accuracy/training.ts";
import { readDigits } from "../../examples/digits/dataset.ts";
import { joinWords } from "../../src/core/split_master.ts";
import { testOnBackends } from "../support/backends.ts";

const EPOCHS = 4;

/** By the momentum factor: the largest drift, and the steps without gradients that end in zeros. */
const LIMITS: Readonly<Record<number, { drift: number; fade: number }>> = {
  0.9: { drift: 0.04, fade: 1000 },
  0.99: { drift: 0.12, fade: 10_000 },
};

function schemeOf(name: string): Scheme {
  return SCHEMES.find((scheme) => scheme.name === name)!;
}

for (const setting of SETTINGS) {
  const { drift: most, fade } = LIMITS[setting.momentum];

  testOnBackends(
    `8-bit momentum ${setting.momentum} follows float32's, and fades to 0`,
    (backend) => {
      const training = new Training(schemeOf("momentumBits: 8"), setting, 1, backend);
      for (let epoch = 1; epoch <= EPOCHS; epoch++) {
        const { gain, drift } = training.runEpoch(epoch);
        assert(Math.abs(gain - 1) < 0.01, `gain ${gain} in epoch ${epoch}`);
        assert(drift < most, `drift ${drift} in epoch ${epoch}`);
        assert(drift > 0.005, `drift ${drift} in epoch ${epoch}: the buffer is not in 8 bits`);
      }
      const { steps, left } = training.fade(fade);
      assert(steps !== null, `${left} is left`);
    },
  );

  testOnBackends(`losses at momentum ${setting.momentum} are float32's to 5 %`, (backend) => {
    const lossOf = (name: string) => {
      const training = new Training(schemeOf(name), setting, 1, backend);
      for (let epoch = 1; epoch < EPOCHS; epoch++) training.runEpoch(epoch);
      return training.runEpoch(EPOCHS).testLoss;
    };
    const exact = lossOf(REFERENCE);
    for (const { name, options } of SCHEMES) {
      if (Object.keys(options).length === 0) continue;
      const ratio = lossOf(name) / exact;
      assert(Math.abs(ratio - 1) < 0.05, `${name}: ${ratio}`);
    }
  });
}

/** Parameters with equal values and the same gradients. */
function twinsOf(parameters: readonly Parameter<HostArray>[]): Parameter<HostArray>[] {
  return parameters.map(({ data, grad }) => ({ data: data.slice(), grad }));
}

const digits = await readDigits();

testOnBackends("split master weights are those of masterWeights: true, bit for bit", (backend) => {
  const model = new Model(1, "bfloat16");
  const twins = twinsOf(model.parameters);
  const options = { ...SETTINGS[0], nesterov: true, weightDecay: 1e-4, backend };
  const whole = new SGD([...model.parameters], { ...options, masterWeights: true });
  const split = new SGD(twins, { ...options, masterWeights: "split" });
  for (let step = 0; step < 200; step++) {
    model.gradients(digits, Uint32Array.from({ length: 8 }, (_, i) => (step * 8 + i) % 1797));
    whole.step();
    split.step();
  }
  for (const [i, parameter] of model.parameters.entries()) {
    const masters = new Float32Array(parameter.data.length);
    const { correction } = split.state.get(twins[i])!;
    joinWords(twins[i].data as BFloat16Array, correction as Int16Array, masters);
    assertEquals(masters, whole.state.get(parameter)!.masterWeight);
  }
});
