/** The picture of a training run. */

import { drawSvg } from "../picture/svg.ts";

/** How the network did after one epoch. */
export interface EpochResult {
  /** Counted from 1. */
  readonly epoch: number;
  /** Mean loss over the training images, as they came by. */
  readonly trainLoss: number;
  /** Mean loss over the test images. */
  readonly testLoss: number;
  /** Share of the test images that are recognized, from 0 to 1. */
  readonly testAccuracy: number;
}

const WIDTH = 800;
const HEIGHT = 640;
const COLORS = { trainLoss: "#3b6fb6", testLoss: "#d1662a", testAccuracy: "#2f8f5b" };

/**
 * Draws loss (above, on a logarithmic scale) and test accuracy (below) over the epochs.
 *
 * @param subtitle What was trained, and how.
 * @param history At least one epoch.
 * @returns The picture as SVG.
 */
export function drawCurves(
  title: string,
  subtitle: string,
  history: readonly EpochResult[],
): string {
  const accuracies = points(history, (result) => 100 * result.testAccuracy);
  return drawSvg(WIDTH, HEIGHT, {
    title: { text: title, subtext: subtitle, left: "center", top: 12, itemGap: 6 },
    legend: { top: 66, icon: "rect", itemWidth: 24, itemHeight: 3 },
    grid: [
      { left: 80, right: 36, top: 100, height: 230 },
      { left: 80, right: 36, top: 372, height: 212 },
    ],
    xAxis: [epochAxis(0, ""), epochAxis(1, "epoch")],
    yAxis: [
      { ...valueAxis(0, "cross-entropy loss (nats)"), type: "log" },
      { ...valueAxis(1, "test accuracy (%)"), type: "value", ...percentScale(accuracies) },
    ],
    series: [
      curve(0, "training loss", COLORS.trainLoss, points(history, (result) => result.trainLoss)),
      curve(0, "test loss", COLORS.testLoss, points(history, (result) => result.testLoss)),
      curve(1, "test accuracy", COLORS.testAccuracy, accuracies),
    ],
  });
}

type Point = readonly [epoch: number, value: number];

function points(
  history: readonly EpochResult[],
  value: (result: EpochResult) => number,
): Point[] {
  return history.map((result) => [result.epoch, value(result)]);
}

function epochAxis(gridIndex: number, name: string) {
  return {
    gridIndex,
    type: "value",
    name,
    nameLocation: "middle",
    nameGap: 30,
    min: 0,
    max: "dataMax",
    minInterval: 1,
    axisLabel: { hideOverlap: true },
    splitLine: { show: false },
    axisLine: { onZero: false },
  };
}

function valueAxis(gridIndex: number, name: string) {
  return { gridIndex, name, nameLocation: "middle", nameGap: 52 };
}

/** Round steps from below the lowest value up to 100. */
function percentScale(values: readonly Point[]) {
  const lowest = Math.min(...values.map(([, value]) => value));
  const min = Math.min(90, 10 * Math.floor(lowest / 10));
  const interval = [2, 5, 10].find((step) => (100 - min) / step <= 7) ?? 20;
  return { min, max: 100, interval };
}

function curve(index: number, name: string, color: string, data: readonly Point[]) {
  return {
    type: "line",
    name,
    xAxisIndex: index,
    yAxisIndex: index,
    data,
    color,
    symbol: data.length === 1 ? "circle" : "none",
    lineStyle: { width: 2 },
  };
}
