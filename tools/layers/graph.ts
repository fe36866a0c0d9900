/** Directed graphs of names, such as files and the files that they import. */

/** The names that each name points to. */
export type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** The same graph with every name replaced, and without arrows from a name to itself. */
export function contract(graph: Graph, rename: (name: string) => string): Graph {
  const contracted = new Map<string, Set<string>>();
  for (const [from, targets] of graph) {
    const name = rename(from);
    const own = contracted.get(name) ?? new Set();
    for (const to of targets) if (rename(to) !== name) own.add(rename(to));
    contracted.set(name, own);
  }
  return contracted;
}

/** Finds a circle: names that each point to the next one, the last one to the first; or null. */
export function findCircle(graph: Graph): string[] | null {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (name: string): string[] | null => {
    if (done.has(name)) return null;
    const at = path.indexOf(name);
    if (at >= 0) return path.slice(at);
    path.push(name);
    for (const next of graph.get(name) ?? []) {
      const circle = visit(next);
      if (circle !== null) return circle;
    }
    path.pop();
    done.add(name);
    return null;
  };
  for (const name of graph.keys()) {
    const circle = visit(name);
    if (circle !== null) return circle;
  }
  return null;
}

/** The floor of each name of a graph without circles: 1 more than the highest floor below it. */
export function floorsOf(graph: Graph): Map<string, number> {
  const floors = new Map<string, number>();
  const visit = (name: string): number => {
    const known = floors.get(name);
    if (known !== undefined) return known;
    const floor = 1 + Math.max(0, ...[...graph.get(name) ?? []].map(visit));
    floors.set(name, floor);
    return floor;
  };
  for (const name of graph.keys()) visit(name);
  return floors;
}
