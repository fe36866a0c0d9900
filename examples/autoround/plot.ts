/** The picture of the AutoRound example. */

import { drawSvg } from "../picture/svg.ts";
import type { Outcome } from "./quantize.ts";

const WIDTH = 800;
const HEIGHT = 660;
/** How far a dot stands beside its seed, in pixels, so that equal ones can be told apart. */
const DOTS = {
  float: { name: "float32", color: "#9aa5b1", symbolOffset: [-7, 0] },
  nearest: { name: "rounded to nearest", color: "#d1662a", symbolOffset: [0, 0] },
  tuned: { name: "tuned", color: "#3b6fb6", symbolOffset: [7, 0] },
};
const LINES = [
  { name: "hidden layer", color: "#2f8f5b" },
  { name: "output layer", color: "#8457a8" },
];

/**
 * Draws the accuracies of all seeds (above) and how the best loss so far of each
 * layer fell, relative to its loss at the start (below).
 *
 * @param outcomes At least one.
 * @returns The picture as SVG.
 */
export function drawOutcomes(
  title: string,
  subtitle: string,
  outcomes: readonly Outcome[],
): string {
  const accuracies = outcomes.flatMap(({ float, nearest, tuned }) => [float, nearest, tuned]);
  return drawSvg(WIDTH, HEIGHT, {
    title: { text: title, subtext: subtitle, left: "center", top: 12, itemGap: 6 },
    legend: [
      { top: 66, icon: "circle", itemWidth: 14, itemHeight: 9, data: namesOf(Object.values(DOTS)) },
      { top: 372, icon: "rect", itemWidth: 24, itemHeight: 3, data: namesOf(LINES) },
    ],
    grid: [
      { left: 80, right: 36, top: 100, height: 210 },
      { left: 80, right: 36, top: 404, height: 200 },
    ],
    xAxis: [
      { gridIndex: 0, type: "category", data: outcomes.map(({ seed }) => seed), ...named("seed") },
      { gridIndex: 1, type: "value", max: "dataMax", splitLine: { show: false }, ...named("step") },
    ],
    yAxis: [
      { gridIndex: 0, type: "value", min: floorOf(accuracies), ...named("test accuracy (%)", 50) },
      { gridIndex: 1, type: "log", ...named("best loss so far / loss at the start", 50) },
    ],
    series: [
      ...(["float", "nearest", "tuned"] as const).map((key) => dots(key, outcomes)),
      ...LINES.flatMap((_, layer) => outcomes.map((outcome) => line(layer, outcome))),
    ],
  });
}

const namesOf = (entries: readonly { name: string }[]) => entries.map(({ name }) => name);

function named(name: string, nameGap = 30) {
  return { name, nameLocation: "middle", nameGap };
}

function floorOf(shares: readonly number[]): number {
  return Math.floor(100 * Math.min(...shares) - 0.5);
}

function dots(key: keyof typeof DOTS, outcomes: readonly Outcome[]) {
  const data = outcomes.map((outcome) => 100 * outcome[key]);
  return { type: "scatter", xAxisIndex: 0, yAxisIndex: 0, symbolSize: 9, data, ...DOTS[key] };
}

function line(layer: number, { losses }: Outcome) {
  const [first] = losses[layer];
  let best = first;
  return {
    type: "line",
    xAxisIndex: 1,
    yAxisIndex: 1,
    data: losses[layer].map((loss, step) => [step, (best = Math.min(best, loss)) / first]),
    symbol: "none",
    lineStyle: { width: 1.2, opacity: 0.7 },
    ...LINES[layer],
  };
}
