// What the broker tells about itself: one record per request it answered, one per change of a lease.
// telemetry/broker.ts implements it. Never: a token, an assertion, a proof, a code.
import { newId } from '../lease/ids.ts'
import type { RevocationScope } from '../lease/lease.ts'
import type { LeaseRecord } from '../ports.ts'
import type { Refusal } from '../refusals.ts'
import type { LifecycleVerb } from './lifecycle.ts'

/** One request to a token endpoint, as far as it came. */
export interface BrokerTrail {
  /** `dec_…`; in the record of the lease as well. */
  readonly decisionId: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  /** `token`, `introspect`, `revoke`, … */
  readonly endpoint: string
  /** Of the connection's other end. */
  readonly peer: string
  /** Short name of the grant: `exchange`, `renewal`, `delegation`, `deferred`, `jwt_bearer`. */
  grant: string | undefined
  /** Only once proven. */
  agent: string | undefined
  user: string | undefined
  task: LeaseRecord['task'] | undefined
  lease: LeaseRecord | undefined
  policyDigest: string | undefined
  /** Reasons of the policy. */
  reasons: readonly string[]
  /** Why policy had no answer. */
  fault: string | undefined
}

/** One order to end, hold or let go leases, as far as it came. */
export interface OrderTrail {
  /** `dec_…` */
  readonly decisionId: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly verb: LifecycleVerb
  /** Of the connection's other end. */
  readonly peer: string
  /** Name of the operator who proved to be one. */
  readonly operator: string | undefined
  /** The person who is signed in. */
  readonly person: { readonly user: string; readonly issuer: string; readonly subject: string } | undefined
  /** Only once proven: the agent that ends its own lease. */
  agent: string | undefined
  /** The id in the path, known or not. */
  readonly lease: string | undefined
  /** As it came: nothing in it is believed. Undefined: not read. */
  readonly body: unknown
  /** Of an order that could be read. */
  scope: RevocationScope | undefined
  /** It stood already: nothing has changed. */
  repeated: boolean
}

export interface BrokerObserver {
  /** Once per request. */
  finished(trail: BrokerTrail, refusal: Refusal | undefined): void
  /** Once per order, refused ones too. */
  ordered(trail: OrderTrail, refusal: Refusal | undefined): void
  /** A lease was suspended, resumed, revoked or completed. */
  changed(record: LeaseRecord): void
  bug(error: unknown): void
}

/** The trail of a request that has just come; `startedAt` in milliseconds since 1970. */
export function beginTrail(endpoint: string, peer: string, startedAt: number): BrokerTrail {
  return {
    decisionId: newId('dec_', startedAt),
    startedAt,
    endpoint,
    peer,
    grant: undefined,
    agent: undefined,
    user: undefined,
    task: undefined,
    lease: undefined,
    policyDigest: undefined,
    reasons: [],
    fault: undefined,
  }
}
