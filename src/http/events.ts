// `GET /events`: what waits for a human, decisions and the state of the gates, as they happen (server-sent events). In:
// calls. Out: streams, a bounded number of them. Decides nothing; live.ts finds out what is told.
import { isSameLogin } from '../approval/people.ts'
import { isRefusal, refuse } from '../refusals.ts'
import { type Caller, hasRole, lookers, readers } from './caller.ts'
import type { Endpoint } from './control.ts'
import { decisionFilters, readEventQuery } from './decision_query.ts'
import { createLive, type LiveParts } from './live.ts'
import { refuseTenant } from './visible.ts'

/** Streams that one process keeps open at once. */
export const maxStreams = 200
/** Those of one person: nobody's tabs keep the others from hearing what waits. */
export const maxStreamsOfOne = 20

/** The endpoint, and what ends its streams when the process does. */
export function eventEndpoints(parts: LiveParts): { endpoints: Endpoint[]; close(): void } {
  const live = createLive(parts)
  const open: Caller[] = []
  const endpoint: Endpoint = {
    method: 'GET',
    path: '/events',
    access: lookers,
    takes: 'nothing',
    errors: 'problem',
    describe: {
      summary: 'What happens, as it happens: server-sent events actions, decision, left_out and status',
      query: [
        { name: 'decisions', description: '1: decisions too, at most 100 a second; then the filters below' },
        ...Object.entries(decisionFilters).map(([name, description]) => ({ name, description })),
      ],
      media: 'text/event-stream',
      errors: ['malformed_request', 'operator_not_allowed', 'overloaded'],
    },
    serve({ query, caller }) {
      if (caller === undefined) return refuse('operator_required')
      const asked = readEventQuery(query)
      if (isRefusal(asked)) return asked
      const refusal = refuseTenant(caller)
      if (refusal !== undefined) return refusal
      const { decisions } = asked
      if (decisions !== undefined && !hasRole(caller, readers)) {
        const detail = 'an approver asks GET /decisions for those of their own actions'
        return refuse('operator_not_allowed', { detail })
      }
      const own = open.filter(({ by, person }) => by === 'session' && isSameLogin(person, caller.person))
      if (open.length >= maxStreams || own.length >= maxStreamsOfOne) {
        const detail = `${maxStreams} streams are open already, or ${maxStreamsOfOne} of yours`
        return refuse('overloaded', { detail, retryAfter: 10 })
      }
      open.push(caller)
      return {
        status: 200,
        stream(writer) {
          const leave = () => void open.splice(open.indexOf(caller), 1)
          if (writer.over.aborted) leave()
          else writer.over.addEventListener('abort', leave, { once: true })
          live.listen({ caller, decisions }, writer)
        },
      }
    },
  }
  return { endpoints: [endpoint], close: () => live.close() }
}
