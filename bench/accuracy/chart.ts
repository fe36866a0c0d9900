/** The curves of the study: a column for each setting, a row for each figure. */

import { drawSvg } from "../svg.ts";
import { curveOf, type Outcome, referenceOf } from "./study.ts";
import { type Epoch, SETTINGS } from "./training.ts";

const WIDTH = 960;
const LEFT = [88, 572] as const;
const PANEL = { width: 356, height: 170 };
const TOP = 188;
const GAP = 62;

/** Columns of the legend. */
const COLUMNS = 3;

/** The colors and dashes of the schemes, in their order. */
const STYLES: readonly [color: string, type: "solid" | "dashed" | "dotted"][] = [
  ["#222222", "solid"],
  ["#98a2ad", "dotted"],
  ["#98a2ad", "dashed"],
  ["#1b6ec2", "solid"],
  ["#7fb2e5", "dashed"],
  ["#d1662a", "solid"],
  ["#b8860b", "solid"],
  ["#2f8f5b", "dotted"],
  ["#2f8f5b", "dashed"],
  ["#2f8f5b", "solid"],
  ["#8e44ad", "solid"],
];

/** A figure that is drawn. */
interface Figure {
  readonly name: string;
  readonly axis: Readonly<Record<string, unknown>>;
  readonly curve: (outcome: Outcome, outcomes: readonly Outcome[]) => number[];
  readonly isShown: (outcome: Outcome) => boolean;
}

const isCompressed = ({ scheme }: Outcome) => scheme.bytes[0] < 4;

const FIGURES: readonly Figure[] = [
  {
    name: "training loss (nats)",
    axis: { type: "log" },
    curve: (outcome) => curveOf(outcome, ({ trainLoss }) => trainLoss),
    isShown: () => true,
  },
  {
    name: "test loss / float32's",
    axis: { type: "value", scale: true },
    curve: (outcome, outcomes) => ratios(outcome, referenceOf(outcome, outcomes)),
    isShown: () => true,
  },
  {
    name: "drift of the momentum (%)",
    axis: { type: "log" },
    curve: (outcome) => curveOf(outcome, ({ drift }) => 100 * drift),
    isShown: isCompressed,
  },
  {
    name: "gain of the momentum",
    axis: { type: "value", scale: true },
    curve: (outcome) => curveOf(outcome, ({ gain }) => gain),
    isShown: isCompressed,
  },
];

/**
 * Draws the medians over the seeds.
 *
 * @param subtitle The machine and the date.
 * @returns The chart as SVG.
 */
export function drawStudy(title: string, subtitle: string, outcomes: readonly Outcome[]): string {
  const height = TOP + FIGURES.length * (PANEL.height + GAP);
  const panels = FIGURES.flatMap((figure, row) =>
    SETTINGS.map((setting, column) => ({ figure, setting, row, column }))
  );
  return drawSvg(WIDTH, height, {
    title: [
      { text: title, subtext: subtitle, left: "center", top: 12, itemGap: 8 },
      ...SETTINGS.map(({ momentum, lr }, column) => ({
        text: `momentum ${momentum}, lr ${lr}`,
        left: LEFT[column],
        top: TOP - 28,
        textStyle: { fontSize: 14 },
      })),
    ],
    legend: legendColumns([...new Set(outcomes.map(({ scheme }) => scheme.name))]),
    grid: panels.map(({ row, column }) => ({ left: LEFT[column], top: topOf(row), ...PANEL })),
    xAxis: panels.map(({ row }, gridIndex) => epochAxis(gridIndex, row)),
    yAxis: panels.map(({ figure }, gridIndex) => valueAxis(gridIndex, figure)),
    series: panels.flatMap((panel, i) => linesOf(panel, i, outcomes)),
  });
}

/** One figure of one setting. */
interface Panel {
  readonly figure: (typeof FIGURES)[number];
  readonly setting: (typeof SETTINGS)[number];
}

/** The lines of a panel. A scheme has the same style in all of them. */
function linesOf({ figure, setting }: Panel, panel: number, outcomes: readonly Outcome[]) {
  return outcomes.filter((outcome) => outcome.setting === setting)
    .map((outcome, i) => ({ outcome, style: STYLES[i] }))
    .filter(({ outcome }) => figure.isShown(outcome))
    .map(({ outcome, style }) =>
      line(panel, outcome.scheme.name, figure.curve(outcome, outcomes), style)
    );
}

/** Legends side by side, so that the samples of all rows stand in columns. */
function legendColumns(names: readonly string[]) {
  const rows = Math.ceil(names.length / COLUMNS);
  return Array.from({ length: COLUMNS }, (_, column) => ({
    data: names.slice(column * rows, (column + 1) * rows),
    ...{ orient: "vertical", left: 40 + column * 300, top: 66, itemWidth: 30, itemGap: 6 },
    itemStyle: { opacity: 0 },
  }));
}

function topOf(row: number): number {
  return TOP + row * (PANEL.height + GAP);
}

/** The ratio of the medians, which vary less than the medians of the ratios. */
function ratios(outcome: Outcome, reference: Outcome): number[] {
  const testLoss = (epoch: Epoch) => epoch.testLoss;
  const exact = curveOf(reference, testLoss);
  return curveOf(outcome, testLoss).map((loss, i) => loss / exact[i]);
}

function epochAxis(gridIndex: number, row: number) {
  return {
    gridIndex,
    type: "value",
    name: row === FIGURES.length - 1 ? "epoch" : "",
    nameLocation: "middle",
    nameGap: 28,
    min: 0,
    max: "dataMax",
    minInterval: 1,
    axisLine: { onZero: false },
    splitLine: { show: false },
  };
}

function valueAxis(gridIndex: number, { name, axis }: Figure) {
  const splitLine = { lineStyle: { color: "#e6e9ec" } };
  return { gridIndex, name, nameLocation: "middle", nameGap: 60, splitLine, ...axis };
}

function line(
  panel: number,
  name: string,
  values: readonly number[],
  [color, type]: (typeof STYLES)[number],
) {
  return {
    type: "line",
    name,
    xAxisIndex: panel,
    yAxisIndex: panel,
    data: values.map((value, i) => [i + 1, value]),
    color,
    symbol: values.length === 1 ? "circle" : "none",
    lineStyle: { width: 2, type },
  };
}
