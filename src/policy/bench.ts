// What a policy costs. In: a compiled policy and inputs. Out: microseconds per decision by operation, and per
// rule evaluated alone, in the engine that serves requests. Never compiles, and never decides a real request.
import type { Effect } from '../ports.ts'
import type { InputGroup } from './bench_inputs.ts'
import { type Engine, loadPolicy, openEngine, type PolicyModule } from './evaluate.ts'
import type { Rule } from './toolchain.ts'

/** Microseconds, nearest rank. */
export interface Microseconds {
  readonly p50: number
  readonly p99: number
}

/** What decisions about one operation take, from the text of the input to the answer. */
export interface OperationCost extends Microseconds {
  readonly operation: string
  /** The answers that came out, in the order of the alphabet. */
  readonly effects: readonly Effect[]
  /** Why the policy failed on one of the inputs. */
  readonly fault?: string
}

/** What one rule takes with everything it asks, beyond reading the input. */
export interface RuleCost extends Omit<Rule, 'entrypoint'> {
  /** `data.leasegate.authz.permitted`. */
  readonly rule: string
  readonly p50: number
}

/** Called before each measurement, with how many are done of how many. */
export type Progress = (done: number, of: number) => void

// Enough for V8 to have optimised the module before anything is timed.
const warmUpMs = 300

/** Times `count` decisions about each operation, its inputs in turn. */
export async function timeOperations(
  module: PolicyModule,
  groups: readonly InputGroup[],
  count: number,
  progress: Progress,
): Promise<OperationCost[]> {
  const policy = await loadPolicy(module)
  warmUp(groups, (input) => policy.evaluate(input))
  return groups.map(({ operation, inputs }, at) => {
    progress(at, groups.length)
    const answers = inputs.map((input) => policy.evaluate(input))
    const fault = answers.find((answer) => answer.fault !== undefined)?.fault
    const effects = [...new Set(answers.map(({ effect }) => effect))].sort()
    const [took] = time(count, (n) => policy.evaluate(inputs[n % inputs.length]!))
    return { operation, effects, ...took!, ...(fault === undefined ? {} : { fault }) }
  })
}

/** Costs of rules, the most expensive first, and what reading the input alone takes. */
export interface RuleCosts {
  readonly readingUs: number
  readonly rules: readonly RuleCost[]
  /** Rules that fail on one of the inputs, and are not timed. */
  readonly failed: readonly string[]
}

/** A rule that regoc/rules.go adds: it reads its input and does nothing. */
const baseline = 'leasegate/bench/nothing'

/**
 * Times each rule alone, `count` times over the first input of every operation. Rules answer each other once
 * per evaluation, so the times of rules that share one do not add up.
 */
export async function timeRules(
  { module, list }: { readonly module: PolicyModule; readonly list: readonly Rule[] },
  groups: readonly InputGroup[],
  count: number,
  progress: Progress,
): Promise<RuleCosts> {
  const engine = await openEngine(module)
  const inputs = groups.map((group) => group.inputs[0]!)
  const asking = (entrypoint: string) => (n: number) =>
    engine.evaluate(entrypoint, inputs[n % inputs.length]!)
  warmUp(groups, (input) => engine.evaluate(baseline, input))
  const [sound, failed] = [true, false].map((wanted) =>
    list.filter(({ entrypoint }) => evaluates(engine, entrypoint, inputs) === wanted),
  ) as [Rule[], Rule[]]
  const readings: number[] = []
  const rules = sound.map(({ entrypoint, ...rule }, at) => {
    progress(at, sound.length)
    // In turns, because how fast a machine is changes from one second to the next.
    const [reading, all] = time(count, asking(baseline), asking(entrypoint))
    readings.push(reading!.p50)
    return { ...rule, rule: dataPath(entrypoint), p50: round(Math.max(0, all!.p50 - reading!.p50)) }
  })
  return {
    readingUs: readings.sort((a, b) => a - b)[readings.length >> 1] ?? 0,
    rules: rules.sort((a, b) => b.p50 - a.p50),
    failed: failed.map(({ entrypoint }) => dataPath(entrypoint)),
  }
}

function evaluates(engine: Engine, entrypoint: string, inputs: readonly string[]): boolean {
  try {
    for (const input of inputs) engine.evaluate(entrypoint, input)
    return true
  } catch {
    return false
  }
}

function dataPath(entrypoint: string): string {
  return `data.${entrypoint.replaceAll('/', '.')}`
}

function warmUp(groups: readonly InputGroup[], evaluate: (input: string) => void): void {
  const inputs = groups.map((group) => group.inputs[0]!)
  const until = performance.now() + warmUpMs
  for (let n = 0; performance.now() < until; n++) evaluate(inputs[n % inputs.length]!)
}

/** Runs every work in turn for 0, 1, … and times each run, after a tenth as many that are not timed. */
function time(count: number, ...works: readonly ((n: number) => void)[]): Microseconds[] {
  for (let n = 0; n < count / 10; n++) for (const work of works) work(n)
  const took = works.map(() => new Float64Array(count))
  for (let n = 0; n < count; n++) {
    for (const [at, work] of works.entries()) {
      const began = performance.now()
      work(n)
      took[at]![n] = (performance.now() - began) * 1000
    }
  }
  return took.map((times) => {
    times.sort()
    const at = (share: number) => round(times[Math.min(count - 1, Math.floor(count * share))]!)
    return { p50: at(0.5), p99: at(0.99) }
  })
}

/** To a tenth of a microsecond: less is noise of the clock. */
function round(microseconds: number): number {
  return Math.round(microseconds * 10) / 10
}
