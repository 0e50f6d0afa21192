// In: a line of the audit file. Out: the record of a request as lists show it, without what policy was asked. A line
// that is no record of a request, or is damaged, is none. Pure.
import { isObject } from '../lease/text.ts'
import type { AuditEntry } from './audit.ts'

/** What became of one request. */
export type DecisionRow = Omit<AuditEntry, 'policy'>

/** The whole record that a line holds; undefined: it is an event of the gate's own, or damaged. */
export function readRecord(line: string): (DecisionRow & Partial<Pick<AuditEntry, 'policy'>>) | undefined {
  const record = readLine(line)
  return record !== undefined && isRecord(record) ? record : undefined
}

/** Any object that a line holds. */
export function readLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The action that a record is about: what the call waits for, has become, or relied on. */
export function actionOf(record: object): string | undefined {
  const approval = 'approval' in record ? record.approval : undefined
  return isObject(approval) && typeof approval.id === 'string' ? approval.id : undefined
}

/** The row of a request that has ended; undefined: the line is about something else. */
export function decisionRow(line: string): DecisionRow | undefined {
  const record = readRecord(line)
  if (record === undefined || record.outcome.ended === 'intent') return undefined
  const { policy: _, ...row } = record
  return row
}

/** Texts that a line has to hold where a record of it fits; for looking at before anything is parsed. */
export function needlesOf(filter: RowFilter): string[] {
  return Object.values(filter).map((value) => JSON.stringify(value))
}

/** Which rows; members that are absent do not limit. */
export interface RowFilter {
  readonly lease?: string
  readonly agent?: string
  readonly user?: string
  readonly backend?: string
  readonly effect?: string
  readonly code?: string
}

/** Whether a row is one of those. */
export function fits(row: DecisionRow, filter: RowFilter): boolean {
  const values = {
    lease: row.lease_id,
    agent: row.agent?.id,
    user: row.who?.user,
    backend: row.what.backend,
    effect: row.decision.effect,
    code: row.decision.code,
  }
  const names = Object.keys(values) as (keyof typeof values)[]
  return names.every((name) => filter[name] === undefined || filter[name] === values[name])
}

function isRecord(value: Record<string, unknown>): value is Record<string, unknown> & DecisionRow {
  const { decision_id: id, time, what, decision, outcome, who, agent, event } = value
  return (
    event === undefined &&
    typeof id === 'string' &&
    typeof time === 'string' &&
    [what, decision, outcome].every(isObject) &&
    [who, agent].every((each) => each === null || isObject(each))
  )
}
