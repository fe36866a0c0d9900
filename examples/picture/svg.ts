/** Charts as SVG, drawn by ECharts without a browser. */

import { LineChart, ScatterChart } from "echarts/charts";
import { GraphicComponent, GridComponent } from "echarts/components";
import { LegendComponent, TitleComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { widthOf } from "./font.ts";

echarts.use([LineChart, ScatterChart, GraphicComponent, GridComponent]);
echarts.use([LegendComponent, TitleComponent, SVGRenderer]);

// What is laid out for a narrower font collides in the viewers that have a wider one. With one
// font for all, the same chart is also the same file in Deno and in every browser.
echarts.setPlatformAPI({
  measureText: (text: string, font?: string) => ({ width: widthOf(text, font) }),
});

/** What ECharts draws; its own type does not know which parts are in use. */
export type ChartOption = Readonly<Record<string, unknown>>;

/**
 * Draws a chart on white.
 *
 * @returns The chart as SVG. Texts are shifted onto their middle by `dy`, because some viewers do
 * not know `dominant-baseline` and would put labels above their ticks.
 */
export function drawSvg(width: number, height: number, option: ChartOption): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ animation: false, backgroundColor: "#ffffff", ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg.replaceAll(' dominant-baseline="central"', ' dy="0.35em"');
}
