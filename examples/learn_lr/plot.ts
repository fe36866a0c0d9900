/** The picture of the example that learns a learning rate. */

import { drawSvg } from "../picture/svg.ts";

/** A learning rate, and the loss that training with it ends at. */
export interface Point {
  readonly lr: number;
  readonly loss: number;
}

const WIDTH = 800;
const HEIGHT = 640;
const PATH = "#d1662a";
const SWEEP = "#3b6fb6";
/** The curve has no dots, so its line of the legend has none either. */
const LEGEND = [{ name: "every learning rate", itemStyle: { opacity: 0 } }, "the descent"];

/**
 * Draws the path over the curve of losses (above), and the learning rate over the descent (below).
 *
 * @param sweep The curve, by rising learning rates.
 * @param path The learning rates on the way, in their order; at least one.
 * @returns The picture as SVG.
 */
export function drawPath(
  title: string,
  subtitle: string,
  sweep: readonly Point[],
  path: readonly Point[],
): string {
  const points = (list: readonly Point[]) => list.map(({ lr, loss }) => [lr, loss]);
  return drawSvg(WIDTH, HEIGHT, {
    title: { text: title, subtext: subtitle, left: "center", top: 12, itemGap: 6 },
    legend: { top: 66, itemWidth: 18, itemHeight: 8, data: LEGEND },
    grid: [
      { left: 80, right: 36, top: 100, height: 230 },
      { left: 80, right: 36, top: 396, height: 190 },
    ],
    xAxis: [
      {
        gridIndex: 0,
        type: "log",
        min: sweep[0].lr,
        max: sweep.at(-1)!.lr,
        ...named("learning rate"),
      },
      { gridIndex: 1, type: "value", max: "dataMax", ...named("step of the descent") },
    ],
    yAxis: [
      { gridIndex: 0, type: "value", min: 0, ...named("loss after training (nats)", 50) },
      { gridIndex: 1, type: "log", ...named("learning rate", 50) },
    ],
    series: [
      line("every learning rate", 0, SWEEP, points(sweep), "none"),
      { ...line("the descent", 0, PATH, points(path), "circle"), symbolSize: 6 },
      line("", 1, PATH, path.map(({ lr }, step) => [step, lr]), "circle"),
    ],
  });
}

function named(name: string, nameGap = 30) {
  return { name, nameLocation: "middle", nameGap, splitLine: { show: false } };
}

function line(name: string, index: number, color: string, data: number[][], symbol: string) {
  const lineStyle = { width: symbol === "none" ? 2 : 1 };
  return {
    type: "line",
    name,
    xAxisIndex: index,
    yAxisIndex: index,
    data,
    color,
    symbol,
    lineStyle,
  };
}
