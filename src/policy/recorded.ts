// In: one line of an audit file. Out: the decision it records, ready to be made again, or why there is none.
// Never guesses: what is not exactly a record is a damaged line.
import type { Effect } from '../ports.ts'

/** What policy was asked once, and what it said. */
export interface RecordedDecision {
  readonly kind: 'decision'
  readonly id: string
  readonly agent: string
  readonly verb: string
  /** With its backend, e.g. `crm GET /customers/{id}`. */
  readonly operation: string
  readonly effect: Effect
  readonly reasons: readonly string[]
  /** JSON text. */
  readonly input: string
  /** Paths of the input that are null in `input` and were not. */
  readonly redacted: readonly string[]
}

/** A line of an audit file. */
export type RecordedLine =
  | RecordedDecision
  /** Nothing was decided here: an event of the gate, or an intent whose record follows. */
  | { readonly kind: 'other' }
  /** The request ended without policy: `why` is the refusal's code, or how the gate answered itself. */
  | { readonly kind: 'not_asked'; readonly why: string }
  | { readonly kind: 'no_input'; readonly why: 'recorded_before' | 'off' | 'too_large' }
  | { readonly kind: 'damaged' }

const damaged: RecordedLine = { kind: 'damaged' }
const other: RecordedLine = { kind: 'other' }
const effects: ReadonlySet<unknown> = new Set<Effect>(['allow', 'deny', 'hold', 'draft'])

/** When a line was written, as far as its first member says so in the form that the gate writes. */
export function timeOf(line: string): string | undefined {
  return /^\{"time":"(\d{4}-\d\d-\d\dT[\d:.]{12}Z)"/.exec(line)?.[1]
}

/** Reads one line. Total: what cannot be parsed, or is nested too deep to be written again, is damaged. */
export function readRecorded(line: string): RecordedLine {
  try {
    return readRecord(JSON.parse(line))
  } catch {
    return damaged
  }
}

function readRecord(record: unknown): RecordedLine {
  if (!isObject(record)) return damaged
  if (typeof record.event === 'string') return other
  const { decision, outcome } = record
  if (typeof record.decision_id !== 'string' || !isObject(decision) || !isObject(outcome)) return damaged
  if (outcome.ended === 'intent') return other
  if (!Object.hasOwn(record, 'policy')) return { kind: 'no_input', why: 'recorded_before' }
  return record.policy === null
    ? { kind: 'not_asked', why: text(decision.code) ?? text(outcome.ended) ?? 'unknown' }
    : readDecision(record, record.policy)
}

function readDecision(record: Json, policy: unknown): RecordedLine {
  const { agent, what, decision_id } = record
  if (!isObject(policy) || !isObject(what)) return damaged
  const { effect, reasons, input, redacted, omitted } = policy
  if (!isEffect(effect) || !isTexts(reasons) || !isTexts(redacted)) return damaged
  if (omitted === 'off' || omitted === 'too_large') return { kind: 'no_input', why: omitted }
  if (omitted !== null || !isObject(input)) return damaged
  return {
    kind: 'decision',
    id: String(decision_id),
    agent: (isObject(agent) ? text(agent.id) : undefined) ?? '-',
    verb: text(what.verb) ?? '-',
    operation: `${text(what.backend) ?? '-'} ${text(what.operation) ?? '-'}`,
    effect,
    reasons,
    // The gate wrote it with `JSON.stringify` too, so this is the text that policy was asked with.
    input: JSON.stringify(input),
    redacted,
  }
}

type Json = Readonly<Record<string, unknown>>

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isEffect(value: unknown): value is Effect {
  return effects.has(value)
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
