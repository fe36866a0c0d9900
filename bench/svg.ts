/** The charts of the measurements. */

export { type ChartOption, drawSvg } from "../examples/picture/svg.ts";

/** Writes a chart in the shape that `deno fmt` asks for. */
export function writeSvg(file: string, svg: string): void {
  Deno.writeTextFileSync(file, svg);
  new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", file] }).outputSync();
  console.log(`\nChart: ${file}`);
}
