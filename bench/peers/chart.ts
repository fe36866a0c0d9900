/** The chart of what the programs took. */

import { drawSvg } from "../svg.ts";
import { formatTime } from "../text.ts";
import type { Result } from "./duel.ts";

const WIDTH = 960;
const TOP = 96;
const LINE = 21;
const GAP = 74;
/** The labels of the last axis. */
const AXIS = 40;
const LEFT = 190;
const OTHERS = "#98a2ad";
const COLORS: readonly [start: string, color: string][] = [
  ["Descent", "#1b6ec2"],
  ["roofline", "#2f8f5b"],
  ["torch", "#d1662a"],
  ["tfjs", "#b8860b"],
];

/** What some programs are called for readers who have not seen the tables. */
const NAMES: Readonly<Record<string, string>> = {
  "roofline": "memory alone (roofline)",
  "tfjs, wasm": "TensorFlow.js, wasm",
};

/**
 * Draws a panel per workload with a dot per program on a logarithmic scale of time.
 *
 * @param subtitle The machine, the date and the versions.
 * @returns The chart as SVG.
 */
export function drawChart(title: string, subtitle: string, results: readonly Result[]): string {
  const names = [...new Set(results.map(({ workload }) => workload))];
  const panels = names.map((name) => sorted(results.filter(({ workload }) => workload === name)));
  const tops = panels.map((_, i) => TOP + panels.slice(0, i).reduce((y, p) => y + heightOf(p), 0));
  const height = TOP + panels.reduce((sum, panel) => sum + heightOf(panel), 0) - GAP + AXIS;
  return drawSvg(WIDTH, height, {
    title: [
      { text: title, subtext: subtitle, left: "center", top: 12, itemGap: 8 },
      ...names.map((text, i) => ({
        text,
        left: 12,
        top: tops[i] - 26,
        textStyle: { fontSize: 14 },
      })),
    ],
    grid: panels.map((panel, i) => ({
      left: LEFT,
      right: 90,
      top: tops[i],
      height: panel.length * LINE,
    })),
    xAxis: panels.map(timeAxis),
    yAxis: panels.map(programAxis),
    series: panels.map(dots),
  });
}

function sorted(results: readonly Result[]): Result[] {
  return [...results].sort((a, b) => a.ns - b.ns);
}

function heightOf(panel: readonly Result[]): number {
  return panel.length * LINE + GAP;
}

function timeAxis(panel: readonly Result[], gridIndex: number) {
  return {
    gridIndex,
    type: "log",
    min: 10 ** Math.floor(Math.log10(panel[0].ns)),
    max: 10 ** Math.ceil(Math.log10(panel.at(-1)!.ns)),
    axisLabel: { formatter: (ns: number) => formatTime(ns).replace(/\.0+ /, " ") },
    splitLine: { lineStyle: { color: "#e6e9ec" } },
  };
}

function programAxis(panel: readonly Result[], gridIndex: number) {
  return {
    gridIndex,
    type: "category",
    inverse: true,
    data: panel.map(nameOf),
    axisTick: { show: false },
    axisLabel: { interval: 0, color: "#222222" },
    splitLine: { show: true, lineStyle: { color: "#f1f3f4" } },
  };
}

function dots(panel: readonly Result[], index: number) {
  return {
    type: "scatter",
    xAxisIndex: index,
    yAxisIndex: index,
    symbolSize: 11,
    data: panel.map((result) => ({
      value: [result.ns, nameOf(result)],
      itemStyle: { color: colorOf(result.contender) },
    })),
    label: {
      show: true,
      position: "right",
      color: "#222222",
      // Grid lines do not run through it.
      ...{ backgroundColor: "#ffffff", padding: [1, 2] },
      formatter: ({ value }: { value: [number, string] }) => formatTime(value[0]),
    },
  };
}

function nameOf({ contender }: Result): string {
  return NAMES[contender] ?? contender;
}

function colorOf(contender: string): string {
  return COLORS.find(([start]) => contender.startsWith(start))?.[1] ?? OTHERS;
}
