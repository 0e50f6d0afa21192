// `GET /actions` and `GET /actions/{id}`: what waits for a human, and what became of it. In: calls. Out: documents, or
// the refusal. What somebody may not know of is answered as what nobody knows. Changes nothing but what it notes of
// who was shown what.
import { type Action, stateOf } from '../approval/action.ts'
import { noteShown } from '../approval/habits.ts'
import { behindRequest, readRequest } from '../approval/requests.ts'
import { behindOf, knowPerson, recordOf } from '../approval/standing.ts'
import type { Place } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import {
  type ActionParts,
  byPlace,
  type Confirmable,
  confirmable,
  findKnown,
  lookers,
  mayKnow,
  mayKnowRequest,
  type Page,
  placeText,
  readPage,
  shownRequest,
} from './action_parts.ts'
import { actionView, callView, requestView, type Viewer } from './action_view.ts'
import type { Caller } from './caller.ts'
import type { ControlAnswer, ControlCall, Endpoint } from './control.ts'
import { orUnavailable } from './store_answer.ts'

/** The endpoints that only look. */
export function actionEndpoints(parts: ActionParts): Endpoint[] {
  const common = { method: 'GET', access: lookers, takes: 'nothing', errors: 'problem' } as const
  return [
    { ...common, path: '/actions', serve: (call) => orUnavailable(list(call, parts)) },
    { ...common, path: '/actions/{id}', serve: (call) => orUnavailable(show(call, parts)) },
  ]
}

const kinds = ['hold', 'draft', 'lease'] as const

interface Search extends Page {
  readonly state: 'pending' | 'all'
  readonly kind: (typeof kinds)[number] | undefined
  readonly lease: string | undefined
}

function readSearch(query: URLSearchParams): Search | Refusal {
  const page = readPage(query)
  if (isRefusal(page)) return page
  const state = query.get('state') ?? 'pending'
  const kind = query.get('kind') ?? undefined
  const known = kinds.find((each) => each === kind)
  if (state !== 'pending' && state !== 'all') {
    return refuse('malformed_request', { detail: 'write state as pending or all' })
  }
  if (kind !== known) {
    return refuse('malformed_request', { detail: `write kind as one of ${kinds.join(', ')}` })
  }
  return { ...page, state, kind: known, lease: query.get('lease') ?? undefined }
}

/** One line of the list, and its place in it. */
interface Row {
  readonly at: number
  readonly id: string
  readonly view: object
}

async function list({ caller, query }: ControlCall, parts: ActionParts): Promise<ControlAnswer | Refusal> {
  if (caller === undefined) return refuse('operator_required')
  const search = readSearch(query)
  if (isRefusal(search)) return search
  const look = await lookingFor(caller, parts)
  const [held, waiting] = await Promise.all([
    search.kind === 'lease' ? nothing : findActions(search, look, parts),
    search.kind === undefined || search.kind === 'lease' ? findRequests(search, look, parts) : [],
  ])
  const rows = [...held.rows, ...waiting]
    .filter((row) => held.next === undefined || byPlace(row, held.next) <= 0)
    .toSorted(byPlace)
  const shown = rows.slice(0, search.limit)
  const next = rows.length > shown.length ? shown.at(-1) : held.next
  return {
    status: 200,
    body: { actions: shown.map(({ view }) => view), ...(next !== undefined && { next: placeText(next) }) },
  }
}

/** Who looks, for each thing that they look at. */
type Look = (about: Confirmable) => Viewer

async function lookingFor(caller: Caller, { sources, clock, confirmation }: ActionParts): Promise<Look> {
  const known = await knowPerson(caller.person, sources.leases)
  const now = clock() / 1000
  return (about) => ({ ...known, caller, now, asked: confirmation.needs(caller, about.what.risk) })
}

/** Actions that are read at once; a caller who may know of few goes through this many at most. */
const batch = 100
const depth = 1_000

interface Found {
  readonly rows: readonly Row[]
  /** Everything up to there has been looked at; absent: everything there is. */
  readonly next?: Required<Place>
}

const nothing: Found = { rows: [] }

/** More than the limit, where there are as many. Others' actions, however many, hide nobody's own: there is a next. */
async function findActions(search: Search, look: Look, { sources }: ActionParts): Promise<Found> {
  const which = search.lease !== undefined ? { lease: search.lease } : search.state
  const rows: Row[] = []
  let reached: Required<Place> | undefined
  for (let seen = 0; seen < depth && rows.length <= search.limit; seen += batch) {
    const before = reached ?? search.before
    const kept = await sources.actions.list(which, { limit: batch, ...(before !== undefined && { before }) })
    rows.push(...(await Promise.all(kept.map(({ action }) => rowOf(action, search, look, sources)))).flat())
    const last = kept.at(-1)?.action
    if (last === undefined || kept.length < batch) return { rows }
    reached = { at: last.createdAt, id: last.id }
  }
  return { rows, ...(reached !== undefined && { next: reached }) }
}

async function rowOf(action: Action, search: Search, look: Look, { leases }: ActionParts['sources']) {
  const viewer = look(action)
  const isWanted = search.kind === undefined || action.kind === search.kind
  if (!isWanted || (search.state === 'pending' && stateOf(action, viewer.now) !== 'pending')) return []
  const record = await recordOf(action, leases)
  if (!mayKnow(viewer.caller, action, record)) return []
  return [{ at: action.createdAt, id: action.id, view: actionView(action, behindOf(action, record), viewer) }]
}

/** Token requests that wait; those that do not any more are told one by one only. */
async function findRequests(search: Search, look: Look, parts: ActionParts): Promise<Row[]> {
  if (search.lease !== undefined) return []
  const waiting = await parts.store.deferrals.pending(parts.clock() / 1000, depth)
  return waiting
    .map(readRequest)
    .filter(({ id, deferral }) => isBehind({ at: deferral.createdAt, id }, search.before))
    .map((request) => ({ request, viewer: look(confirmable(request)) }))
    .filter(({ request, viewer }) => mayKnowRequest(viewer.caller, request, parts))
    .map(({ request, viewer }) => ({
      at: request.deferral.createdAt,
      id: request.id,
      view: requestView(request, behindRequest(request), viewer),
    }))
}

/** Whether a place is on the page that begins after `before`. */
function isBehind(place: Required<Place>, before: Place | undefined): boolean {
  return before === undefined || byPlace(place, { id: '', ...before }) > 0
}

async function show({ caller, params }: ControlCall, parts: ActionParts): Promise<ControlAnswer | Refusal> {
  if (caller === undefined) return refuse('operator_required')
  const look = await lookingFor(caller, parts)
  const found = await findKnown(params.id ?? '', caller, parts)
  if (found === undefined) return refuse('action_unknown')
  if (found.kind === 'lease') {
    const viewer = look(confirmable(found))
    const view = requestView(found, behindRequest(found), viewer)
    if (view.you.may) await noteShown(parts.sources.records, caller.person, shownRequest(found), viewer.now)
    return { status: 200, body: { ...view, call: null } }
  }
  const { sources } = parts
  const [record, held] = await Promise.all([recordOf(found, sources.leases), sources.actions.call(found)])
  const viewer = look(found)
  const view = actionView(found, behindOf(found, record, held?.lease.delegatedBy), viewer)
  if (view.you.may) await noteShown(sources.records, caller.person, found, viewer.now)
  return { status: 200, body: { ...view, call: callView(held) } }
}
