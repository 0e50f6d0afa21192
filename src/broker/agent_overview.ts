// Which agents there are and what each could reach. In: the agents' files, live leases, the policy data, what surrounds
// leases. Out: a row for each agent, version, environment, profile, client and tenant. Pure but for the store; an upper
// bound: what policy refuses beyond the profile takes no part in it.
import type { LeaseDetail } from '../lease/allow.ts'
import { isObject } from '../lease/text.ts'
import type { LeaseRecord } from '../ports.ts'
import { blastRadius, type Surroundings } from './blast_radius.ts'
import type { LeaseSources } from './lease_search.ts'
import { liveLeases } from './live_leases.ts'
import type { AgentEntry } from './parties.ts'
import { isReading, reachOf, sensitivityPoints } from './reach.ts'

/** An operation that a profile could be granted. */
export interface ProfileReach {
  readonly backend: string
  readonly operation: string
  readonly verb: string
  readonly sensitivity: string
  readonly risk: string
  /** Harm of one call. */
  readonly points: number
  /** A write that the profile may only draft: a human releases it. */
  readonly asDraft: boolean
}

export interface AgentRow {
  readonly agent: string
  readonly version: string
  readonly env: string
  readonly profile: string
  readonly clientId: string
  readonly tenant: string
  /** Whether a file describes it: others are known by their leases alone. */
  readonly hasFile: boolean
  /** The profile as the policy data has it; undefined: it has none of that name. */
  readonly profileRights: object | undefined
  readonly reach: readonly ProfileReach[]
  readonly liveLeases: number
  /** Points of its live leases together. */
  readonly points: number
}

export interface AgentOverview {
  readonly agents: readonly AgentRow[]
  /** There are more live leases than were looked at, the newest: figures are too low. */
  readonly truncated: boolean
}

export interface OverviewAsked {
  readonly sources: LeaseSources
  readonly around: Surroundings
  readonly files: readonly AgentEntry[]
  /** Everything under `data`. */
  readonly policyData: unknown
}

type Identity = Pick<AgentRow, 'agent' | 'version' | 'env' | 'profile' | 'clientId' | 'tenant'>

/** The agents, the most harmful first. Throws `Unavailable`. */
export async function agentOverview({
  sources,
  around,
  files,
  policyData,
}: OverviewAsked): Promise<AgentOverview> {
  const { live, truncated } = await liveLeases(sources, around.now)
  const byName = Map.groupBy<string, LeaseRecord>(live, (record) => nameOf(identityOf(record)))
  const described = new Map(files.map((file) => [nameOf(file), file] as const))
  const identities = new Map<string, Identity>(
    live.map((record) => [nameOf(identityOf(record)), identityOf(record)]),
  )
  for (const [name, { agent, version, env, profile, clientId, tenant }] of described) {
    identities.set(name, { agent, version, env, profile, clientId, tenant })
  }
  const profiles = isObject(policyData) && isObject(policyData.profiles) ? policyData.profiles : {}
  const rights = (profile: string) => {
    const found = Object.hasOwn(profiles, profile) ? profiles[profile] : undefined
    return isObject(found) ? found : undefined
  }
  const rows = [...identities].map(([name, identity]): AgentRow => {
    const leases = byName.get(name) ?? []
    const profileRights = rights(identity.profile)
    return {
      ...identity,
      hasFile: described.has(name),
      profileRights,
      reach: profileReach(profileRights, around),
      liveLeases: leases.length,
      points: leases.length === 0 ? 0 : blastRadius(leases, around).points,
    }
  })
  return {
    agents: rows.toSorted((a, b) => b.points - a.points || nameOf(a).localeCompare(nameOf(b))),
    truncated,
  }
}

function identityOf({ agent, agentVersion, agentEnv, profile, clientId, tenant }: LeaseRecord): Identity {
  return { agent, version: agentVersion, env: agentEnv, profile, clientId, tenant }
}

function nameOf({ agent, version, env, profile, clientId, tenant }: Identity): string {
  return JSON.stringify([agent, version, env, profile, clientId, tenant])
}

/** Nothing of a profile that is not written as the policies that ship do. */
function profileReach(
  rights: Record<string, unknown> | undefined,
  { backends }: Surroundings,
): ProfileReach[] {
  if (rights === undefined || !isObject(rights.backends)) return []
  const details = Object.entries(rights.backends).flatMap(
    ([backend, right]) => detailOf(backend, right) ?? [],
  )
  const stages = Array.isArray(rights.stages) ? rights.stages : []
  const executes = stages.includes('execute')
  return reachOf({ stage: 'execute', details }, backends)
    .filter(({ operation }) => executes || isReading(operation) || stages.includes('draft'))
    .map(({ backend, operation, points }) => ({
      backend,
      operation: operation.match,
      verb: operation.verb,
      sensitivity: operation.sensitivity,
      risk: operation.risk,
      points,
      asDraft: !executes && !isReading(operation),
    }))
}

function detailOf(backend: string, right: unknown): LeaseDetail | undefined {
  if (!isObject(right)) return undefined
  const { verbs, ceiling } = right
  const isKnown = typeof ceiling === 'string' && Object.hasOwn(sensitivityPoints, ceiling)
  if (!isKnown || !Array.isArray(verbs) || !verbs.every((verb) => typeof verb === 'string')) return undefined
  const sensitivity = ceiling as LeaseDetail['sensitivity']
  return { type: 'lease', actions: verbs, identifier: `${backend}:*`, sensitivity }
}
