// In: the query of `GET /leases`, or the options of `leasegate lease list`. Out: which leases are meant, or the
// refusal that says what is wrong with it. An unknown parameter, or one that stands twice, is refused: a filter
// that is not understood must not widen the answer. Pure.
import { isPlainText } from '../lease/text.ts'
import type { LeasePlace } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import { type LeaseSearch, lifeStates } from './lease_search.ts'
import { parseAgent, parseTask } from './names.ts'

const defaultLimit = 100
const maxLimit = 1_000
const defaultUnusedSeconds = 600
const names = [
  'agent',
  'user',
  'task',
  'session',
  'state',
  'limit',
  'unused',
  'older_than',
  'text',
  'before',
  'summary',
] as const
type Name = (typeof names)[number]

/** A search, and how much of each lease is told. */
export interface LeaseQuery extends LeaseSearch {
  readonly summary?: true
}

/** Reads names and values. `older_than` is seconds, or `10m` and the like; it belongs to `unused=true`. */
export function readLeaseQuery(query: Iterable<readonly [string, string]>): LeaseQuery | Refusal {
  const given = new Map<Name, string>()
  for (const [name, value] of query) {
    const known = names.find((each) => each === name)
    if (known === undefined) return wrong(`unknown parameter; there are ${names.join(', ')}`)
    if (given.has(known)) return wrong(`${known} stands twice`)
    if (!isPlainText(value)) return wrong(`${known} is not plain text of 1 to 256 characters`)
    given.set(known, value)
  }
  const state = lifeStates.find((each) => each === given.get('state'))
  if (given.has('state') && state === undefined) return wrong(`state is one of ${lifeStates.join(', ')}`)
  const limit = wholeNumber(given.get('limit') ?? String(defaultLimit))
  if (limit === undefined || limit > maxLimit) return wrong(`limit is a number from 1 to ${maxLimit}`)
  if (given.get('agent')?.includes('@') === true) return wrong('name the agent without @version')
  const before = readPlace(given.get('before'))
  if (before === 'wrong') return wrong('before is what an answer gave as next')
  if ((given.get('summary') ?? '1') !== '1') return wrong('summary is 1, or left out')
  const text = given.get('text')
  const unusedSeconds = readUnused(given)
  if (unusedSeconds === 'wrong') return wrong('unused is true; older_than goes with it, such as 600 or 10m')
  return {
    ...filterOf(given),
    ...(state !== undefined && { state }),
    ...(unusedSeconds !== undefined && { unusedSeconds }),
    ...(text !== undefined && { text }),
    ...(before !== undefined && { before }),
    ...(given.has('summary') && { summary: true }),
    limit,
  }
}

/** Agents and tasks may be written as on the command line. */
function filterOf(given: ReadonlyMap<Name, string>) {
  const [agent, user, task, session] = (['agent', 'user', 'task', 'session'] as const).map((name) =>
    given.get(name),
  )
  const { system, id } = parseTask(task ?? '')
  return {
    ...(agent !== undefined && { agent: parseAgent(agent).id }),
    ...(user !== undefined && { user }),
    ...(task !== undefined && { task: `${system}:${id}` }),
    ...(session !== undefined && { session }),
  }
}

function readUnused(given: ReadonlyMap<Name, string>): number | undefined | 'wrong' {
  const unused = given.get('unused')
  const olderThan = given.get('older_than')
  if (unused === undefined) return olderThan === undefined ? undefined : 'wrong'
  if (unused !== 'true') return 'wrong'
  if (olderThan === undefined) return defaultUnusedSeconds
  const [, amount = '', unit = 's'] = /^([0-9]+)([smhd])?$/.exec(olderThan) ?? []
  const seconds = wholeNumber(amount)
  return seconds === undefined ? 'wrong' : seconds * { s: 1, m: 60, h: 3_600, d: 86_400 }[unit as 's']
}

/** A place as `next` writes it. */
export function placeText({ issuedAt, id }: LeasePlace): string {
  return `${issuedAt}~${id}`
}

function readPlace(text: string | undefined): LeasePlace | undefined | 'wrong' {
  if (text === undefined) return undefined
  const [, issuedAt, id] = /^([0-9]{1,12}(?:\.[0-9]{1,9})?)~([\w.:@-]{1,200})$/.exec(text) ?? []
  return issuedAt === undefined || id === undefined ? 'wrong' : { issuedAt: Number(issuedAt), id }
}

function wholeNumber(text: string): number | undefined {
  return /^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : undefined
}

function wrong(detail: string): Refusal {
  return refuse('malformed_request', { detail })
}
