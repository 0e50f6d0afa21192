// In: the query of `GET /decisions` and of `GET /events`. Out: which audit records are meant and from where, or the
// refusal that says what is wrong with it. Unknown parameters are refused: a filter that is not understood must not
// widen the answer. Pure.
import { isPlainText } from '../lease/text.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { RowFilter } from '../telemetry/decision_row.ts'

export interface DecisionSearch {
  readonly filter: RowFilter
  readonly limit: number
  /** Only records that stand before this place in that file. */
  readonly before?: DecisionPlace
}

/** Where a record begins. */
export interface DecisionPlace {
  readonly file: string
  readonly offset: number
}

/** What can be filtered by, with a word for people. */
export const decisionFilters = {
  lease: 'id of a lease',
  agent: 'an agent, without its version',
  user: 'a user, as leases name them',
  backend: 'a backend',
  effect: 'allow, deny, hold or draft',
  code: 'code of a refusal',
} as const satisfies Record<keyof RowFilter, string>

const filterNames = Object.keys(decisionFilters) as (keyof RowFilter)[]
const defaultLimit = 100
/** Records on one page, at most. */
export const maxDecisions = 500

/** Reads the query of `GET /decisions`. */
export function readDecisionQuery(query: URLSearchParams): DecisionSearch | Refusal {
  const given = readNames(query, [...filterNames, 'before', 'limit'])
  if (!(given instanceof Map)) return given
  const limit = given.get('limit') ?? String(defaultLimit)
  if (!/^[1-9][0-9]{0,2}$/.test(limit) || Number(limit) > maxDecisions) {
    return wrong(`limit is a number from 1 to ${maxDecisions}`)
  }
  const text = given.get('before')
  const before = text === undefined ? undefined : readPlace(text)
  if (text !== undefined && before === undefined) return wrong('before is what an answer gave as next')
  return { filter: filterOf(given), limit: Number(limit), ...(before !== undefined && { before }) }
}

/** Reads the query of `GET /events`: `decisions=1` and the filters; undefined: no decisions are asked for. */
export function readEventQuery(query: URLSearchParams): { decisions?: RowFilter } | Refusal {
  const given = readNames(query, [...filterNames, 'decisions'])
  if (!(given instanceof Map)) return given
  const decisions = given.get('decisions')
  if (decisions !== undefined && decisions !== '1') return wrong('decisions is 1, or left out')
  if (decisions === undefined && given.size > 0) return wrong('a filter goes with decisions=1')
  return decisions === undefined ? {} : { decisions: filterOf(given) }
}

/** As `next` writes it and `before` takes it. */
export function placeText({ file, offset }: DecisionPlace): string {
  return `${file}-${offset}`
}

function readPlace(text: string): DecisionPlace | undefined {
  const [, file, offset] = /^([0-9]{1,20})-([0-9]{1,15})$/.exec(text) ?? []
  return file === undefined ? undefined : { file, offset: Number(offset) }
}

function readNames(query: URLSearchParams, names: readonly string[]): Map<string, string> | Refusal {
  const given = new Map<string, string>()
  for (const [name, value] of query) {
    if (!names.includes(name)) return wrong(`unknown parameter; there are ${names.join(', ')}`)
    if (given.has(name)) return wrong(`${name} stands twice`)
    if (!isPlainText(value)) return wrong(`${name} is not plain text of 1 to 256 characters`)
    given.set(name, value)
  }
  return given
}

function filterOf(given: ReadonlyMap<string, string>): RowFilter {
  return Object.fromEntries(filterNames.flatMap((name) => (given.has(name) ? [[name, given.get(name)]] : [])))
}

function wrong(detail: string): Refusal {
  return refuse('malformed_request', { detail })
}
