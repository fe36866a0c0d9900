/** Finds the places where a source can be changed into one that should fail its tests. */

/** One change of a text. */
export interface Mutant {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Comments, strings, templates and regular expressions: nothing in them is changed. */
const QUIET =
  /\/\*[^]*?\*\/|\/\/.*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|(?<=[(=,] ?)\/(?:[^/\\\n]|\\.)+\/\w*/g;

/** What operators become; `deno fmt` puts spaces around them, and none around type arguments. */
const OPERATORS: Readonly<Record<string, string>> = {
  ...{ "+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "+=": "-=", "-=": "+=" },
  ...{ "<": "<=", "<=": "<", ">": ">=", ">=": ">", "===": "!==", "!==": "===" },
  ...{ "&&": "||", "||": "&&", ">>": "<<", "<<": ">>" },
};

const BRANCH = String.raw`(?:[^?:;{}(),\n]|\((?:[^?:;{}()\n]|\([^?:;{}()\n]*\))*\))+?`;

/** Each pattern with what a match of it becomes; null leaves it as it is. */
const RULES: readonly [RegExp, (match: RegExpMatchArray, source: string) => string | null][] = [
  [/(?<= )[-+*/%<>=!&|]+(?= |\n)/g, ([operator]) => OPERATORS[operator] ?? null],
  [/(?<=[ (\[.])!(?=[\w(])/g, () => ""], // a negation: neither `value!` nor `!==`
  [/(?<=[(\[,?:=] ?|return )-(?=[\w(])/g, () => ""],
  [/(?<![\w.$])(?:0x[\da-f]+|\d[\d_]*)(?![\w.])/gi, ([number]) => {
    return String(Number(number.replaceAll("_", "")) + 1);
  }],
  [/\b(?:true|false)\b/g, ([flag]) => String(flag === "false")],
  [/(?<= )(?:continue|break);/g, () => ";"],
  // Branches may be strings, which `match` has without their text; their parentheses are balanced.
  [
    new RegExp(`(?<= \\? )(${BRANCH}) : (${BRANCH})(?=[,;)\n])`, "g"),
    ({ index, 1: a, 2: b }, source) => {
      const second = index! + a.length + " : ".length;
      const [yes, no] = [
        source.slice(index, index! + a.length),
        source.slice(second, second + b.length),
      ];
      return `${no} : ${yes}`;
    },
  ],
];

/** All mutants of a source, in the order of their places. */
export function mutantsOf(source: string): Mutant[] {
  const code = source.replaceAll(QUIET, (quiet) => quiet.replaceAll(/[^\n]/g, "_"));
  const mutants = negatedConditions(code, source);
  for (const [pattern, change] of RULES) {
    for (const match of code.matchAll(pattern)) {
      const text = change(match, source);
      const start = match.index;
      if (text !== null) mutants.push({ start, end: start + match[0].length, text });
    }
  }
  return mutants.sort((a, b) => a.start - b.start);
}

/** Swaps the branches of each `if`, by its condition. */
function negatedConditions(code: string, source: string): Mutant[] {
  return [...code.matchAll(/\bif \(/g)].map(({ index, 0: { length } }) => {
    const start = index + length;
    let end = start;
    for (let depth = 1; depth > 0; end++) {
      depth += Number(code[end] === "(") - Number(code[end] === ")");
    }
    return { start, end: end - 1, text: `!(${source.slice(start, end - 1)})` };
  });
}
