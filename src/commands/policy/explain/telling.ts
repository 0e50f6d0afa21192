// In: the trace of a refusal. Out: the rules that it comes from, each with the conditions that say why, a cause
// below what it caused. Found by the names in conditions; what is left out is counted, never lost.
import type { ConditionTrace, RuleTrace, Trace } from '../../../policy/trace.ts'

/** A rule, and those of its conditions that it failed; of one that held, those that something had to fail for. */
export interface Telling {
  readonly rule: RuleTrace
  readonly conditions: readonly ConditionTrace[]
}

/** From the bodies of the decision that failed, along what each failed condition names. */
export function tellingRules({ rules }: Trace): Telling[] {
  const found = new Map<RuleTrace, Telling>()
  const [decision] = rules
  const follow = (bodies: readonly RuleTrace[]): void => {
    for (const rule of bodies) {
      if (found.has(rule)) continue
      const conditions = rule.conditions.filter((condition) =>
        rule.holds ? isNegated(condition) : condition.outcome === 'false',
      )
      found.set(rule, { rule, conditions })
      for (const condition of conditions) follow(causesOf(condition, rules, packageOf(decision!)))
    }
  }
  follow(distinct(rules.filter((body) => body.rule === decision?.rule && !body.holds)))
  return [...found.values()]
}

function isNegated({ text }: ConditionTrace): boolean {
  return text.startsWith('not ')
}

/**
 * The rules that a condition names: those that failed, or, where none did, those that held against it. A call
 * that held is no reason why a condition failed, unless it is negated.
 */
function causesOf(condition: ConditionTrace, rules: readonly RuleTrace[], home: string): RuleTrace[] {
  const names = new Set(identifiers(condition.text))
  const named = rules.filter((rule) => names.has(nameOf(rule, home)))
  const calls = Object.values(Object.groupBy(named, callOf)).map((bodies) => bodies ?? [])
  const failed = calls.filter((bodies) => !bodies.some(({ holds }) => holds))
  if (failed.length > 0) return failed.flatMap(distinct)
  return named.filter((rule) => rule.holds && (isNegated(condition) || rule.arguments.length === 0))
}

/** Without the bodies that fail on something that one before them fails on too. */
function distinct(bodies: readonly RuleTrace[]): RuleTrace[] {
  const seen = new Set<string>()
  return bodies.filter(({ conditions }) => {
    const failed = conditions.filter(({ outcome }) => outcome === 'false').map(({ text }) => text)
    const isNew = !failed.some((text) => seen.has(text))
    for (const text of failed) seen.add(text)
    return isNew
  })
}

/** One rule with one set of arguments may have several bodies. */
function callOf({ rule, arguments: given }: RuleTrace): string {
  return JSON.stringify([rule, given])
}

/** `data.leasegate.authz.` */
function packageOf({ rule }: RuleTrace): string {
  return rule.slice(0, rule.lastIndexOf('.') + 1)
}

/** How a condition names it: `refusals` for `data.leasegate.authz.refusals.shop`, `is_ours` for `data.lib.is_ours`. */
function nameOf({ rule }: RuleTrace, home: string): string {
  return (rule.startsWith(home) ? identifiers(rule.slice(home.length))[0] : identifiers(rule).at(-1)) ?? ''
}

function identifiers(text: string): string[] {
  return text.replace(/"(?:[^"\\]|\\.)*"|`[^`]*`/g, '').match(/[A-Za-z_]\w*/g) ?? []
}
