// Which agents could do how much. In: the store ports, what surrounds the leases. Out: a row per agent with its
// blast radius and what would narrow it, the greatest first. Changes nothing.
import type { LeaseRecord } from '../ports.ts'
import { type BlastRadius, blastRadius, type Surroundings } from './blast_radius.ts'
import type { LeaseSources } from './lease_search.ts'
import type { KnownLease } from './lease_view.ts'
import { liveLeases } from './live_leases.ts'
import { type Narrowing, narrowings } from './narrowing.ts'

/** One agent and what it could do with all its live leases. */
export interface AgentRadius {
  readonly agent: string
  readonly leases: number
  readonly radius: BlastRadius
  /** The most helpful first. */
  readonly narrowings: readonly Narrowing[]
}

/** What was found. */
export interface RadiusSearch {
  readonly agents: readonly AgentRadius[]
  /** There are more live leases than were looked at, the newest: every figure is too low. */
  readonly truncated: boolean
}

/** The agents that hold live leases, the most harmful first. Throws `Unavailable`. */
export async function agentRadii(
  sources: LeaseSources,
  around: Surroundings,
  filter: { readonly agent?: string } = {},
): Promise<RadiusSearch> {
  const { byAgent, truncated } = await byAgentOf(sources, around.now, filter)
  const agents: AgentRadius[] = []
  for (const [agent, records] of byAgent) {
    const used = await Promise.all(
      records.map(async (lease) => ({ lease, usage: await sources.leases.usage(lease) })),
    )
    const radius = blastRadius(records, around)
    agents.push({ agent, leases: records.length, radius, narrowings: narrowings(used, radius, around) })
  }
  return { agents: agents.toSorted((a, b) => b.radius.points - a.radius.points), truncated }
}

/** The radius of one lease; of one that is not active, undefined: it can do nothing. */
export function leaseRadius({ record, state }: KnownLease, around: Surroundings): BlastRadius | undefined {
  return state.state === 'active' ? blastRadius([record], around) : undefined
}

/** The points of each agent alone, for a metric. Throws `Unavailable`. */
export async function agentPoints(
  sources: LeaseSources,
  around: Surroundings,
): Promise<ReadonlyMap<string, number>> {
  const { byAgent } = await byAgentOf(sources, around.now)
  return new Map([...byAgent].map(([agent, records]) => [agent, blastRadius(records, around).points]))
}

async function byAgentOf(sources: LeaseSources, now: number, filter: { readonly agent?: string } = {}) {
  const { live, truncated } = await liveLeases(sources, now, filter)
  return { byAgent: Map.groupBy<string, LeaseRecord>(live, ({ agent }) => agent), truncated }
}
