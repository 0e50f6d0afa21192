// The part of compose.ts that makes the broker: parts in, the endpoints that agents and identity providers call
// out. Decides nothing.
import { readRequest } from './approval/requests.ts'
import { agentPoints } from './broker/blast_search.ts'
import type { BrokerParts } from './broker/parts.ts'
import { createStatusContents, createStatusPlaces } from './broker/status_list.ts'
import { tellOfRequest } from './compose_notify.ts'
import type { Closers, Parts } from './compose_parts.ts'
import { surroundings } from './config/blast_radius.ts'
import type { Config } from './config.ts'
import type { Endpoint } from './http/control.ts'
import { introspectionEndpoints, type Sign } from './http/introspect.ts'
import { jwksEndpoint } from './http/jwks.ts'
import type { HolderParts } from './http/lease_holder.ts'
import { metadataEndpoints } from './http/metadata.ts'
import { signalEndpoints } from './http/signals.ts'
import { statusListEndpoints } from './http/status_lists.ts'
import { tokenEndpoints } from './http/token.ts'
import { tokenRevocationEndpoints } from './http/token_revocation.ts'
import { algorithms, signCompact } from './lease/jose.ts'
import { createSenderVerifier } from './lease/proof_sender.ts'
import { proofAlgorithms } from './lease/proof_text.ts'
import { createVerifier } from './lease/verify.ts'
import { watchRadius } from './telemetry/blast_radius.ts'

/** What the broker adds to the control listener. */
export interface ComposedBroker {
  readonly endpoints: readonly Endpoint[]
  /** How an agent proves that a lease is its own. */
  readonly holder: HolderParts
}

/** How old a status list may be here, and how long gates elsewhere may keep it, seconds (docs/broker.md). */
const statusListSeconds = 15

/** The broker over what it shares with the gate. Throws where the process was not opened as a broker. */
export function composeBroker(parts: Parts, closers: Closers): ComposedBroker {
  const { config, store, policy, keys, proofs, identity, signing, brokerObserver: observer } = parts
  if (identity === undefined || signing === undefined) throw new Error('not opened as a broker')
  const { issuer, ttlSeconds, profile } = config.broker
  const { maxStalenessMs } = config.state
  const { clients, subjects, agents, providers } = identity
  const senders = createSenderVerifier(proofs)
  const verifier = createVerifier({ issuers: [profile], keys })
  const resources = resourcesOf(config)
  const audiences = [...resources.keys()]
  const sign: Sign = (typ, claims) => {
    const { kid, privateKey } = signing.signer()
    return signCompact({ typ, kid }, claims, privateKey)
  }
  const lists = config.broker.statusLists ? createStatusPlaces({ replay: store.replay, issuer }) : undefined
  const broker: BrokerParts = {
    issuer,
    audiences: resources,
    backends: new Map(config.backends.map((backend) => [backend.name, backend])),
    store,
    maxStalenessMs,
    clients,
    subjects,
    senders,
    profile,
    ttlSeconds,
    agents: () => agents,
    policy: () => policy.current.issue,
    signer: () => signing.signer(),
    leaseTokens: verifier,
    ...(lists !== undefined && { statusFor: lists.statusFor }),
    observer,
    // Its agent does not wait for this.
    onDeferred: (deferral) => void tellOfRequest('approval.requested', readRequest(deferral), parts),
    now: () => Date.now() / 1000,
  }
  const observed = { observer, clock: Date.now }
  watchBlastRadius(parts, closers)
  const tokens = { ...observed, clients, senders, store, verifier, audiences }
  const endpoints = [
    ...tokenEndpoints(broker),
    ...introspectionEndpoints({ ...tokens, maxStalenessMs, issuer, sign }),
    ...tokenRevocationEndpoints(tokens),
    ...signalEndpoints({ ...observed, sources: providers, store, issuer }),
    ...(lists === undefined ? [] : statusLists(parts, sign, closers)),
    jwksEndpoint(() => signing.public()),
  ]
  return {
    endpoints: [...endpoints, ...metadata(config, endpoints)],
    holder: { verifier, sender: senders, audiences },
  }
}

/** What each agent could do, for the metric; agents without a file are told as one. */
function watchBlastRadius({ config, store, metrics, identity, log }: Parts, closers: Closers): void {
  const watch = watchRadius({
    look: () => agentPoints(store, surroundings(config, Date.now() / 1000)),
    isKnown: (agent) => identity?.agents.byAgent(agent) !== undefined,
    log,
  })
  metrics.blastRadius(() => watch.points())
  closers.push(() => watch.close())
}

function statusLists({ config, store }: Parts, sign: Sign, closers: Closers): Endpoint[] {
  const contents = createStatusContents({
    store,
    maxStalenessMs: config.state.maxStalenessMs,
    ttlSeconds: statusListSeconds,
  })
  closers.push(() => contents.close())
  const { issuer } = config.broker
  return statusListEndpoints({ contents, issuer, sign, ttlSeconds: statusListSeconds, clock: Date.now })
}

function metadata({ broker, tls }: Config, endpoints: readonly Endpoint[]): Endpoint[] {
  const certificates = tls.control !== undefined
  const byCertificate = certificates ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []
  return metadataEndpoints({
    issuer: broker.issuer,
    endpoints,
    grantTypes: [
      'urn:ietf:params:oauth:grant-type:token-exchange',
      'urn:ietf:params:oauth:grant-type:jwt-bearer',
      'urn:ietf:params:oauth:grant-type:deferred',
    ],
    clientAuthentication: ['private_key_jwt', ...byCertificate],
    assertionAlgorithms: [...algorithms.keys()],
    proofAlgorithms,
    certificateBound: certificates,
  })
}

/** What leases are issued for, and the backends that each stands for. */
function resourcesOf({ publicOrigin, backends, broker }: Config): ReadonlyMap<string, readonly string[]> {
  const all = backends.map(({ name }) => name)
  const resources = new Map<string, readonly string[]>([[broker.profile.audience, all]])
  const scheme = new URL(publicOrigin).protocol
  for (const { name, hosts, pathPrefix } of backends) {
    if (pathPrefix !== undefined) resources.set(`${publicOrigin}${pathPrefix}`, [name])
    for (const host of hosts) resources.set(`${scheme}//${host}`, [name])
  }
  return resources
}
