// Leases of the drill's own, under names that nobody else has: revoking them touches nothing real.
import type { Config } from '../../config.ts'
import { canaryName } from '../../http/canary.ts'
import type { RevocationScope } from '../../lease/lease.ts'
import type { Store } from '../../ports.ts'
import { issueFrom } from '../lease/issue.ts'

/** A lease for the canary. */
export interface CanaryLease {
  readonly id: string
  readonly token: string
  /** What a revocation by each scope names. */
  readonly values: Readonly<Record<RevocationScope, string>>
}

/** The policy profile that may call the canary; the shipped policies have it. */
export const drillProfile = 'leasegate-drill'

/** Issues one, as `lease issue` does; `name` makes its agent, user and task unlike any other. */
export async function issueCanaryLease(name: string, config: Config, store: Store): Promise<CanaryLease> {
  const { token, claims, record } = await issueFrom(
    {
      config: '',
      user: `drill-${name}`,
      agent: `${drillProfile}-${name}@1`,
      task: `drill:${name}`,
      purpose: 'revocation drill',
      allow: [`read ${canaryName}:canary public`],
      stage: 'observe',
      ttl: '5m',
      env: 'drill',
      profile: drillProfile,
    },
    config,
    store,
  )
  return {
    id: record.id,
    token,
    values: {
      lease: record.id,
      agent: record.agent,
      agent_version: `${record.agent}@${record.agentVersion}`,
      user: record.user,
      task: `${record.task.system}:${record.task.id}`,
      session: record.session,
      token: claims.jti,
    },
  }
}
