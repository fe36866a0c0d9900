/** State of which rank 0 of a world has a part, and which it reads from the others as the file comes to it. */

import type { StatePart } from "../core/exchange.ts";
import type { JointSave } from "../state/source.ts";
import type { Tensor } from "./tensor_order.ts";
import type { RemoteTensors, TensorBytes } from "./write_layout.ts";

/** The numbers of the arrays of a row. */
const ARRAYS: Readonly<Record<string, number>> = {
  momentum_buffer: 0,
  momentum8: 0,
  momentum_scales: 1,
  master_weight: 2,
  correction: 2,
};

/** Elements that share a scale of momentum in 8 bits. */
const SCALED = 32;

const NAME = new RegExp(`^state\\.(\\d+)\\.(${Object.keys(ARRAYS).join("|")})$`);

/** Reads the tensors of state of a file. */
export function remoteState(joint: JointSave): RemoteTensors {
  return {
    has: ({ name }) => NAME.test(name),
    read: (parts) => joint.read(parts.map(partOf)),
  };
}

function partOf({ tensor, from, into }: TensorBytes): StatePart {
  const [, row, key] = NAME.exec(tensor.name)!;
  const of = (bytes: number) => bytes / bytesOfElement(tensor, key);
  const part = { row: Number(row), array: ARRAYS[key], into };
  return { ...part, from: of(from), to: of(from + into.length) };
}

/** Bytes of an element of the parameter; of scales it is a part of one. */
function bytesOfElement({ array }: Tensor, key: string): number {
  return key === "momentum_scales" ? 1 / SCALED : array.BYTES_PER_ELEMENT;
}
