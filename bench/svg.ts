/** Charts as SVG, drawn by ECharts without a browser. */

import { LineChart, ScatterChart } from "echarts/charts";
import { GraphicComponent, GridComponent } from "echarts/components";
import { LegendComponent, TitleComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

echarts.use([LineChart, ScatterChart, GraphicComponent, GridComponent]);
echarts.use([LegendComponent, TitleComponent, SVGRenderer]);

/** What ECharts draws; its own type does not know which parts are in use. */
export type ChartOption = Readonly<Record<string, unknown>>;

/** Draws a chart on white. */
export function drawSvg(width: number, height: number, option: ChartOption): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ animation: false, backgroundColor: "#ffffff", ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** Writes a chart in the shape that `deno fmt` asks for. */
export function writeSvg(file: string, svg: string): void {
  Deno.writeTextFileSync(file, svg);
  new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", file] }).outputSync();
  console.log(`\nChart: ${file}`);
}
