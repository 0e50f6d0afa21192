// What each step of the pipeline gives to the next: one type per step, nothing else. Permit, Committed
// and OutboundRequest are classes of the steps that make them (decide.ts, commit.ts, outbound.ts).
import type { Grant, Lease } from '../lease/lease.ts'
import type { Approval, Consultation, Revocation, Suspension } from '../ports.ts'
import type { Refusal } from '../refusals.ts'
import type { ReadAmount } from './amount.ts'
import type { BudgetLeft } from './left.ts'
import type { Backend, Operation } from './operation.ts'

/** A request head as Node's parser hands it over, before anything is believed. */
export interface RawHead {
  readonly method: string
  readonly target: string
  /** `1.1`, `1.0`, … as parsed. */
  readonly httpVersion: string
  /** Flat name, value list; order, case and duplicates as sent. */
  readonly rawHeaders: readonly string[]
  /** Address of the connection's other end. */
  readonly peer: string
  /** SHA-256 of the client certificate of this very connection, base64url; absent: it showed none. */
  readonly certificate?: string | undefined
}

/** One query parameter, decoded. */
export interface QueryPair {
  readonly name: string
  readonly value: string
  /** It is written in a way another parser could read differently: hidden from policy or refused. */
  readonly unclear: boolean
}

/** receive: the one reading of the request that every later step uses. */
export interface CleanRequest {
  readonly method: string
  readonly authority: string
  /** The path's bytes as sent; canonical, so there is one reading of them. */
  readonly path: string
  /** Raw segments of `path`; a trailing slash is a last empty segment. */
  readonly segments: readonly string[]
  readonly hasEncodedSlash: boolean
  /** The query's bytes as sent, without `?`; undefined when there is no `?`. */
  readonly queryText: string | undefined
  readonly query: readonly QueryPair[]
  /** Flat list, lower-case names, as sent otherwise; without underscore names. */
  readonly headers: readonly string[]
  /** Lower-case names that `Connection` nominates. */
  readonly nominated: readonly string[]
  readonly authorization: string | undefined
  /** Values of the `DPoP` fields, as sent. */
  readonly proofs: readonly string[]
  readonly contentType: string | undefined
  readonly contentEncoding: string | undefined
  /** Bytes; undefined when not announced. */
  readonly contentLength: number | undefined
  readonly chunked: boolean
  readonly expectsContinue: boolean
  readonly provenance: 'trusted' | 'untrusted'
  /** `Lease-Task` and `Lease-Session`: what the request says it is for. */
  readonly statedTask: string | undefined
  readonly statedSession: string | undefined
  /** `Lease-Approval`: the action whose approval the request relies on. */
  readonly statedApproval: string | undefined
  /** `Prefer: wait`, seconds. */
  readonly waitSeconds: number | undefined
  /** A valid W3C traceparent; undefined starts a new trace. */
  readonly traceparent: string | undefined
  /** Value for an OPTIONS request only. */
  readonly maxForwards: number | undefined
  /** A complete RFC 6455 offer. */
  readonly offersWebSocket: boolean
  readonly peer: string
  /** SHA-256 of the client certificate of the connection, base64url. */
  readonly certificate: string | undefined
}

/** What an operation makes of one request. */
export interface Mapped {
  readonly operation: Operation
  /** Decoded path parameters. */
  readonly params: Readonly<Record<string, string>>
  /** `crm:customer/9821`; `/`, `*` and `%` inside an id are percent-encoded. */
  readonly resource: string
  /** Path as the backend gets it, before its base path. */
  readonly backendPath: string
  /** What policy may see of the query: every name once. */
  readonly query: Readonly<Record<string, string>>
}

/** route: the backend and its operation, or the refusal that only an authenticated caller gets to see. */
export interface Routed {
  readonly request: CleanRequest
  readonly backend: Backend | undefined
  readonly mapped: Mapped | Refusal
}

/** authenticate: a lease stands behind the request. */
export interface Authenticated {
  readonly request: CleanRequest
  readonly backend: Backend
  readonly mapped: Mapped
  readonly lease: Lease
}

/** Calls seen in the last minute, this one left out. */
export interface RecentCalls {
  readonly lease: number
  readonly agent: number
}

/** gather: everything the decision reads. Saved, it is enough to decide again. */
export interface Evidence extends Authenticated {
  /** Seconds since 1970. */
  readonly now: number
  readonly revocation: Revocation | undefined
  readonly suspension: Suspension | undefined
  readonly viewAgeMs: number
  readonly maxStalenessMs: number
  /** Seconds that the gate's clock is ahead of the store's. */
  readonly clockOffset: number
  readonly recentCalls: RecentCalls
  /** What a human has said about this very call; undefined while policy has not asked for it. */
  readonly approval: Approval | undefined
  /** The bytes read so far; they are what is forwarded. Undefined: the body was not read. */
  readonly bodyBytes: Uint8Array | undefined
  /** Parsed body where the operation asks for it. */
  readonly body: unknown
  /** What the request moves; undefined where its operation moves nothing that is counted. */
  readonly amount?: ReadAmount | undefined
  /** What was left before this call; undefined where the grant that covers it limits nothing. */
  readonly budget?: BudgetLeft | undefined
}

/** What tells whether a lease is good for anything at all. */
export type LeaseEvidence = Pick<
  Evidence,
  'lease' | 'now' | 'revocation' | 'suspension' | 'viewAgeMs' | 'maxStalenessMs' | 'clockOffset'
>

/** What was decided, for the caller, the audit record and the metrics. */
export interface Decision {
  readonly effect: 'allow' | 'deny' | 'hold' | 'draft'
  readonly reasons: readonly string[]
  readonly policyDigest: string
  /** The alternative of the lease that covers the request. */
  readonly grant: Grant
  readonly consultation: Consultation
}
