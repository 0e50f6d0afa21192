// In: the broker's configuration and what it shares with the rest. Out: who proves which agent asks, and for
// whom; constructed here for compose.ts. A change of the agents' files is logged, counted and recorded.
import { createClientAuthenticator } from './broker/identity/client.ts'
import { openProviders, type Providers } from './broker/identity/providers.ts'
import { createSubjectVerifier } from './broker/identity/subject.ts'
import type { AgentRegistry, ClientAuthenticator, SubjectVerifier } from './broker/parties.ts'
import { type AgentsEvent, type LiveAgents, openAgents } from './config/agents.ts'
import { workloadIssuers } from './config/broker.ts'
import type { Config } from './config.ts'
import type { Readiness } from './http/health.ts'
import type { Store } from './ports.ts'
import { auditEvent } from './telemetry/audit.ts'
import type { AuditFile } from './telemetry/audit_file.ts'
import type { Logger } from './telemetry/log.ts'
import type { Metrics } from './telemetry/metrics.ts'

export interface IdentityNeeds {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly audit: AuditFile
  readonly store: Store
}

/** Everybody who can take part in asking for a lease. */
export interface ComposedIdentity {
  readonly agents: AgentRegistry
  readonly providers: Providers
  readonly clients: ClientAuthenticator
  readonly subjects: SubjectVerifier
  /** Reads the agents' files again. */
  reloadNow(): Promise<void>
  readiness(): Readiness[]
  close(): void
}

/** Reads the agents and asks each provider for its keys. Rejects with `ConfigError` for agents that cannot be used. */
export async function composeIdentity(needs: IdentityNeeds): Promise<ComposedIdentity> {
  const { config, store } = needs
  const { agents: dir, identityProviders, issuer } = config.broker
  const agents =
    dir === undefined
      ? nobody
      : await openAgents(dir, {
          workloadIssuers: workloadIssuers(config),
          onEvent: (event) => changed(event, needs),
        })
  const providers = await openProviders(identityProviders)
  const { replay } = store
  return {
    agents,
    providers,
    clients: createClientAuthenticator({ agents, providers, issuer, replay }),
    subjects: createSubjectVerifier({ providers, issuer, replay }),
    reloadNow: () => agents.reloadNow(),
    // A provider that is down takes new leases of its users away, not the gate's traffic.
    readiness: () =>
      providers.status().map((status) => ({
        name: `keys of identity provider ${status.issuer}`,
        ready: true,
        detail: `${status.keys} usable`,
      })),
    close() {
      agents.close()
      providers.close()
    },
  }
}

function changed(event: AgentsEvent, { log, metrics, audit }: IdentityNeeds): void {
  metrics.agentsReload(event.type)
  if (event.type === 'rejected') {
    const { problems } = event
    audit.append(auditEvent('agents', { rejected: problems }))
    log.error({ rejected: problems }, 'agents rejected; those before stay')
    return
  }
  audit.append(auditEvent('agents', { agents: event.agents }))
  log.info({ agents: event.agents }, 'agents reloaded')
}

/** Without a directory of agents nobody can ask. */
const nobody: LiveAgents = {
  byClientId: () => undefined,
  byAgent: () => undefined,
  byWorkload: () => undefined,
  all: () => [],
  reloadNow: async () => undefined,
  close: () => undefined,
}
