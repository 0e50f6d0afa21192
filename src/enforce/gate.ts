// What a walk through the pipeline needs of the world and leaves behind: types only. http/proxy.ts
// implements Exchange, telemetry implements Observer, compose.ts wires a Gate.
import type { KeptAction } from '../approval/actions.ts'
import type { Lease } from '../lease/lease.ts'
import type { ProofVerifier } from '../lease/proof.ts'
import type { Consultation, Policy } from '../ports.ts'
import type { Refusal } from '../refusals.ts'
import type { TokenVerifier } from './authenticate.ts'
import type { CommitSources } from './commit.ts'
import type { Permit } from './decide.ts'
import type { EvidenceSources, RequestBody } from './gather.ts'
import type { PublicFacts } from './local.ts'
import type { Backend } from './operation.ts'
import type { OutboundRequest } from './outbound.ts'
import type { ReceiveRules } from './receive.ts'
import type { LocalAnswer, OwnAnswer, PassedHead } from './reply.ts'
import type { Router } from './route.ts'
import type { Humans } from './seek.ts'
import type { CleanRequest, RawHead, Routed } from './stages.ts'

/** Everything a walk needs of the world, wired once by compose.ts. */
export interface Gate extends PublicFacts {
  /** The gate's origin and the identifier of each backend: what a token's `aud` may be. */
  readonly audiences: ReadonlyMap<Backend | undefined, readonly string[]>
  /** All of them: an agent looks after its actions with whatever token it has. */
  readonly everyAudience: readonly string[]
  readonly rules: ReceiveRules
  readonly router: Router
  readonly publicScheme: string
  readonly verifier: TokenVerifier
  readonly proofs: ProofVerifier
  readonly evidence: EvidenceSources
  readonly policy: () => Policy
  readonly humans: Humans
  readonly commits: CommitSources
  readonly newDecisionId: (nowMs: number) => string
  readonly newTraceparent: () => string
  readonly observer: Observer
}

/** The client's side of one request; http/proxy.ts implements it over a socket. */
export interface Exchange extends RequestBody {
  readonly head: RawHead
  /** The client offered a WebSocket and the connection can carry one. */
  readonly upgrade: boolean
  /** The client has gone. */
  readonly left: boolean
  /** What stands behind a request that came over no socket (http/perform.ts alone makes such); absent: its token. */
  readonly standing?: Standing
  /** Sends an answer of the gate's own. Resolves once it has been sent or the client has left; */
  answer(answer: LocalAnswer, ended: Outcome['ended']): Promise<Outcome>
  /** Ends the connection without an answer: for a bug while answering. */
  abort(): void
  /** Streams to the backend and back. */
  forward(request: OutboundRequest, replies: Replies): Promise<Outcome | Refusal>
}

/** A lease that was verified before, and the released draft that this request is. */
export interface Standing {
  readonly lease: Lease
  /** When the lease ended, where the request outlives it as policy has let it. */
  readonly endedAt?: number
  /** As it was claimed for this one request; absent: a request that nobody was asked about. */
  readonly released?: KeptAction
}

/** What is said to the client of a forwarded request. */
export interface Replies {
  readonly head: HeadFilter
  /** What the gate itself says when it ends the exchange midway. */
  refusal(refusal: Refusal): OwnAnswer
}

/** Turns the head of a backend's answer into what the client gets. `raw` is a flat name, value list. */
export type HeadFilter = (status: number, raw: readonly (Buffer | string)[]) => PassedHead | Refusal

/**
 * Why the gate itself ended an exchange that was under way: the lease was revoked, suspended or completed; its
 * token expired; nobody knows any more whether it was revoked; its byte budget is used up or cannot be read.
 */
export type MidwayEnd = 'revoked_midway' | 'expired_midway' | 'stale_midway' | 'budget_midway'

/** How an exchange ended. Bytes are body bytes. */
export interface Outcome {
  readonly status: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly ended:
    | 'completed'
    | 'refused'
    | 'answered_locally'
    | 'aborted_by_client'
    | 'backend_failed'
    | MidwayEnd
  /** Why it was ended midway. */
  readonly refusal?: Refusal | undefined
}

/** How far a walk came; what the record of a request is written from. */
export interface Trail {
  readonly decisionId: string
  /** Milliseconds since 1970. */
  readonly startedAt: number
  /** The same moment on the monotonic clock. */
  readonly began: number
  /** When the last step ended, for a request that is timed step by step; else NaN. */
  mark: number
  readonly head: RawHead
  traceparent: string | undefined
  request: CleanRequest | undefined
  routed: Routed | undefined
  lease: Lease | undefined
  /** What the client should make its next proof with. */
  nonce: string | undefined
  permit: Permit | undefined
  /** The action that the request waits for, or became. */
  action: string | undefined
  /** It stayed open until somebody had decided. */
  waited: boolean
  policyDigest: string | undefined
  /** Undefined where a check refused before policy was asked. */
  consultation: Consultation | undefined
  /** When everything had said yes, on the monotonic clock: from here on only the backend can fail. */
  forwardedAt: number | undefined
  refusal: Refusal | undefined
}

/** Sees every walk. `finished` is called exactly once per request. */
export interface Observer {
  /** The first mark of a new trail: a monotonic time, or NaN when its steps are not timed. */
  begin(): number
  /** Called after each step with its name. */
  step(trail: Trail, name: StepName): void
  finished(trail: Trail, outcome: Outcome): void
  /** A bug, not a refusal: logged, never shown to the caller. */
  bug(trail: Trail, error: unknown): void
}

export type StepName =
  | 'receive'
  | 'route'
  | 'authenticate'
  | 'gather'
  | 'decide'
  | 'commit'
  | 'outbound'
  | 'forward'
