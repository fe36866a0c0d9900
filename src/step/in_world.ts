/**
 * Finds what takes the steps of an optimizer in a world. `openWorld` brings it along, so that a program
 * without a world does not have it.
 */

import type { Backend } from "../backends/backend.ts";
import { exchangeOf } from "../core/exchange.ts";
import type { ExchangeMode } from "../core/exchange.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot, checkWord, wrongType } from "../core/validate.ts";
import type { Together } from "./together.ts";

/** What ranks can exchange. */
const EXCHANGES: readonly ExchangeMode[] = ["gradients", "shards", "signs"];

/** The class `Together`; null until a world is opened. */
let steps: typeof Together | null = null;

/** Makes known what takes steps in worlds. */
export function registerTogether(type: typeof Together): void {
  steps = type;
}

/**
 * The steps of an optimizer in a world; null without one, and in one of a single rank.
 *
 * @throws {TypeError} If it is not a world, the exchange does not exist or comes without a world, or the
 * backend is not native.
 */
export function createTogether(
  world: unknown,
  exchange: unknown,
  backend: Backend,
  precision: Precision,
): Together | null {
  if (exchange !== undefined) {
    checkWord("exchange", exchange, EXCHANGES);
    if (world === undefined) throw wrongType("set exchange", "it needs a world", exchange);
  }
  const found = exchangeOf(world);
  if (found === null) return null;
  if (backend.name !== "cpu") {
    const found = `the backend is "${backend.name}"`;
    throw new TypeError(cannot("set world", 'it needs backend "cpu"', found));
  }
  return new steps!(found, (exchange ?? "gradients") as ExchangeMode, precision, backend);
}
