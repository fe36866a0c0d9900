/** The axes of a panel of the history. */

import { widthOf } from "../../examples/picture/font.ts";
import type { Series } from "./changes.ts";

/** Digits that ticks of a logarithmic axis may have, from few to many. */
const DIGITS: readonly (readonly number[])[] = [
  [1],
  [1, 3],
  [1, 2, 5],
  [1, 1.5, 2, 3, 4, 5, 7],
  [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9],
];
const MOST_TICKS = 8;
/** What lies between the axis and the outermost points, as a share of the axis. */
const MARGIN = 0.08;
const HASH = widthOf("0123456", "10px monospace");

/** Whether so many hashes have to be turned, as they would touch side by side. */
export function areTurned(commits: number, width: number): boolean {
  return width / Math.max(1, commits - 1) < 1.25 * HASH;
}

/** Hashes below their points. */
export function commitAxis(commits: readonly string[], gridIndex: number, width: number) {
  const rotate = areTurned(commits.length, width) ? 60 : 0;
  return {
    gridIndex,
    type: "category",
    data: commits,
    boundaryGap: false,
    axisLabel: { rotate, fontSize: 10, fontFamily: "monospace" },
  };
}

/** Ratios: logarithmic if the highest is at least twice the lowest. */
export function ratioAxis(series: readonly Series[], gridIndex: number) {
  const ratios = series.flatMap(({ points }) => points.map(({ ratio }) => ratio));
  const [low, high] = [Math.min(...ratios), Math.max(...ratios)];
  const formatter = (ratio: number) => String(Number(ratio.toPrecision(3)));
  const axis = { gridIndex, splitLine: { lineStyle: { color: "#e6e9ec" } } };
  if (high < 2 * low) {
    const boundaryGap = [`${100 * MARGIN}%`, `${100 * MARGIN}%`];
    return { ...axis, type: "value", scale: true, boundaryGap, axisLabel: { formatter } };
  }
  const margin = (high / low) ** MARGIN;
  const [min, max] = [low / margin, high * margin];
  const customValues = ticksOf(min, max);
  const axisLabel = { formatter, customValues };
  return { ...axis, type: "log", min, max, axisTick: { customValues }, axisLabel };
}

/** Round numbers from `min` to `max`: the most of which the axis has room. */
export function ticksOf(min: number, max: number): number[] {
  const [first, last] = [min, max].map((value) => Math.floor(Math.log10(value)));
  const powers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const choices = DIGITS.map((digits) =>
    powers.flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`)))
      .filter((tick) => min <= tick && tick <= max)
  );
  return choices.findLast(({ length }) => length <= MOST_TICKS) ?? choices[0];
}
