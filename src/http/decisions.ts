// `/decisions`: what the audit file of this machine says of requests. In: calls. Out: rows, newest first; one decision
// with everything that is told of it; its explanation. An approver sees decisions of actions that policy names them
// for. Reads, never writes; few readings at once.
import type { Actions } from '../approval/actions.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { actionOf } from '../telemetry/decision_row.ts'
import { type DecisionStory, findDecisions, findStory } from '../telemetry/find_decisions.ts'
import { type Caller, hasRole, lookers, readers } from './caller.ts'
import type { ControlAnswer, ControlCall, Endpoint } from './control.ts'
import { placeText, readDecisionQuery } from './decision_query.ts'
import { orUnavailable } from './store_answer.ts'
import { ownActions, refuseTenant } from './visible.ts'

export interface DecisionParts {
  readonly auditFile: string
  readonly actions: Pick<Actions, 'list'>
  /** What `policy explain` says of a record (policy/explain_record.ts), or why there is nothing to say. */
  readonly explain: (record: unknown) => Promise<object | Refusal>
}

/** Readings of the file that go on at once; each may be of a gigabyte. */
const maxReadings = 4

/** `GET /decisions`, `GET /decisions/{id}`, `GET /decisions/{id}/explanation`. */
export function decisionEndpoints(parts: DecisionParts): Endpoint[] {
  const common = { method: 'GET', access: lookers, takes: 'nothing', errors: 'problem' } as const
  const reading = limited(maxReadings)
  const serving =
    (serve: (call: ControlCall, caller: Caller) => Promise<ControlAnswer | Refusal>): Endpoint['serve'] =>
    (call) => {
      const { caller } = call
      if (caller === undefined) return refuse('operator_required')
      return refuseTenant(caller) ?? orUnavailable(serve(call, caller))
    }
  const story = async ({ params }: ControlCall, caller: Caller): Promise<DecisionStory | Refusal> => {
    const isSeen = await seenBy(caller, parts)
    const found = await reading(() => findStory(parts.auditFile, params.id ?? ''))
    // A decision that somebody may not see is one that nobody knows.
    if (found === undefined || (!isRefusal(found) && !isSeen(found.record))) return refuse('decision_unknown')
    return found
  }
  return [
    {
      ...common,
      path: '/decisions',
      serve: serving((call, caller) => list(call, caller, parts, reading)),
    },
    {
      ...common,
      path: '/decisions/{id}',
      serve: serving(async (call, caller) => {
        const found = await story(call, caller)
        if (isRefusal(found)) return found
        return { status: 200, body: { ...found.record, intents: found.intents, events: found.events } }
      }),
    },
    {
      ...common,
      path: '/decisions/{id}/explanation',
      serve: serving(async (call, caller) => {
        const found = await story(call, caller)
        const body = isRefusal(found) ? found : await parts.explain(found.record)
        return isRefusal(body) ? body : { status: 200, body }
      }),
    },
  ]
}

async function list(
  { query }: ControlCall,
  caller: Caller,
  parts: DecisionParts,
  reading: Limited,
): Promise<ControlAnswer | Refusal> {
  const search = readDecisionQuery(query)
  if (isRefusal(search)) return search
  const isSeen = await seenBy(caller, parts)
  const { filter, limit, before } = search
  const page = await reading(() => findDecisions(parts.auditFile, { filter, limit, before, isSeen }))
  if (page === undefined) return { status: 200, body: { decisions: [] } }
  if (isRefusal(page)) return page
  if (page === 'elsewhere') {
    const detail = 'before is no place in the audit file: it has been rotated; begin again without it'
    return refuse('malformed_request', { detail })
  }
  const { rows, next } = page
  return { status: 200, body: { decisions: rows, ...(next !== undefined && { next: placeText(next) }) } }
}

/** Which decisions a caller sees. Throws `Unavailable`. */
async function seenBy(caller: Caller, { actions }: DecisionParts): Promise<(record: object) => boolean> {
  if (hasRole(caller, readers)) return () => true
  const own = await ownActions(caller, actions)
  return (record) => {
    const id = actionOf(record)
    return id !== undefined && own.has(id)
  }
}

type Limited = <T>(read: () => Promise<T>) => Promise<T | Refusal | undefined>

/** Refuses what would be one reading too many; undefined: there is no audit file yet. */
function limited(max: number): Limited {
  let under = 0
  return async (read) => {
    if (under >= max) return refuse('overloaded', { detail: 'others are reading the audit file' })
    under++
    try {
      return await read()
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
      if (code === undefined) throw error
      if (code === 'ENOENT') return undefined
      const detail = 'the audit file cannot be read'
      return refuse('audit_unavailable', { detail, cause: code })
    } finally {
      under--
    }
  }
}
