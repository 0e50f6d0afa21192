// `GET /agents`: which agents there are, what their profiles may do, what they hold now. In: calls. Out: rows, found out
// once for everybody who asks within some seconds.
import { type AgentOverview, type AgentRow, agentOverview } from '../broker/agent_overview.ts'
import type { Surroundings } from '../broker/blast_radius.ts'
import type { AgentEntry } from '../broker/parties.ts'
import type { Store } from '../ports.ts'
import { refuse } from '../refusals.ts'
import { readers } from './caller.ts'
import type { Endpoint } from './control.ts'
import { orUnavailable } from './store_answer.ts'

export interface AgentParts {
  readonly store: Pick<Store, 'leases' | 'revocations'>
  /** Milliseconds since 1970. */
  readonly clock: () => number
  /** What surrounds leases at a time, seconds since 1970. */
  readonly around: (now: number) => Surroundings
  /** Agents that have files; none in a gate without a broker. */
  readonly files: () => readonly AgentEntry[]
  /** Everything under `data` of the policy that decides. */
  readonly policyData: () => unknown
}

/** Ten thousand leases take some hundred milliseconds to count: not again for each console. */
const keptMs = 5_000

/** The endpoint. An operator of a tenant sees the agents of that tenant. */
export function agentEndpoints({ store, clock, around, files, policyData }: AgentParts): Endpoint[] {
  let kept: { readonly at: number; readonly overview: Promise<AgentOverview> } | undefined
  const overview = (): Promise<AgentOverview> => {
    const at = clock()
    if (kept !== undefined && Math.abs(at - kept.at) < keptMs) return kept.overview
    const asked = { sources: store, around: around(at / 1000), files: files(), policyData: policyData() }
    const found = agentOverview(asked)
    kept = { at, overview: found }
    // What could not be found out is asked for again.
    found.catch(() => {
      kept = undefined
    })
    return found
  }
  return [
    {
      method: 'GET',
      path: '/agents',
      access: readers,
      takes: 'nothing',
      errors: 'problem',
      serve: ({ caller }) => {
        if (caller === undefined) return refuse('operator_required')
        const { tenant } = caller
        const answer = overview().then(({ agents, truncated }) => {
          const own = agents.filter((row) => tenant === undefined || row.tenant === tenant)
          return { status: 200, body: { agents: own.map(viewOf), truncated } }
        })
        return orUnavailable(answer)
      },
    },
  ]
}

function viewOf({ clientId, hasFile, profileRights, reach, liveLeases, points, ...row }: AgentRow) {
  return {
    ...row,
    client_id: clientId,
    has_file: hasFile,
    profile_rights: profileRights ?? null,
    reach: reach.map(({ asDraft, ...each }) => ({ ...each, as_draft: asDraft })),
    live_leases: liveLeases,
    blast_radius: points,
  }
}
