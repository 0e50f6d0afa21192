// `leasegate/client`: leases for agents, over `fetch` and WebCrypto alone. In: where the broker is and who the agent
// is. Out: leases with a `fetch` of their own. Never logs anything.
import { detailOf } from './allow.ts'
import type { ClientAuthentication } from './assertion.ts'
import type { LeaseDetail } from './errors.ts'
import { AgentLease } from './lease.ts'
import { createProver } from './proof.ts'
import { createTokenEndpoint } from './token_endpoint.ts'
import type { ApprovalOptions } from './waiting.ts'

export { type ClientAuthentication, type PrivateKey, privateKeyJwt, workloadToken } from './assertion.ts'
export type { LeaseInit } from './call.ts'
export type { Draft } from './draft.ts'
export {
  ApprovalRefused,
  ApprovalRequired,
  type LeaseDetail,
  LeaseRefused,
  LeaseUnavailable,
  type RefusalFacts,
} from './errors.ts'
export type { AgentLease } from './lease.ts'
export type { ApprovalTask } from './task.ts'
export type { ApprovalOptions } from './waiting.ts'

/** Who asks, and where. */
export interface LeaseClientOptions {
  /** The broker's issuer, e.g. `https://broker.example`. */
  readonly broker: string
  readonly clientId: string
  /** `privateKeyJwt(jwk)`, `workloadToken(read)`, or what gives the form parameters some other way. */
  readonly authenticate: ClientAuthentication
  /** The token of the user (or workflow) that the agent works for; read anew for each lease. */
  readonly subjectToken: () => Promise<string> | string
  /** Default `urn:ietf:params:oauth:token-type:id_token`. */
  readonly subjectTokenType?: string
  /** Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch
}

/** What a lease is asked for. */
export interface LeaseRequest {
  /** `jira:SUP-4711`. */
  readonly task: string
  readonly purpose: string
  /** The gate's origin (`https://gate.example`), or one backend's identifier (`https://gate.example/crm`). */
  readonly resource: string
  /** `read crm:customer/9821`, or RFC 9396 details; absent: policy chooses what the task needs. */
  readonly allow?: readonly (string | LeaseDetail)[]
  /** Default `observe`. */
  readonly stage?: 'observe' | 'draft' | 'execute'
  /** Ask once for the wider lease that a refusal names. Default true. */
  readonly widen?: boolean
  /** How long to wait for a human where policy wants one for the lease itself, milliseconds. Default 0: not at all. */
  readonly waitForApprovalMs?: number
  /** How calls that are held wait for a human; false: they do not, and throw `ApprovalRequired`. */
  readonly approval?: ApprovalOptions | false
}

export interface LeaseClient {
  /** A lease, obtained at the first call under it. */
  lease(request: LeaseRequest): AgentLease
}

/** A client with a key of its own, to which every lease of it is bound (RFC 9449). */
export async function createLeaseClient(options: LeaseClientOptions): Promise<LeaseClient> {
  const prover = await createProver()
  const { broker, subjectTokenType = 'urn:ietf:params:oauth:token-type:id_token' } = options
  const fetch = options.fetch ?? globalThis.fetch
  const endpoint = createTokenEndpoint({ ...options, fetch, prover })
  const subject = async () => ({
    subject_token: await options.subjectToken(),
    subject_token_type: subjectTokenType,
  })
  return {
    lease({ allow = [], waitForApprovalMs = 0, ...request }) {
      const { task, purpose, resource, stage = 'observe', widen = true, approval = {} } = request
      const details = allow.map(detailOf)
      const approvalMs = waitForApprovalMs
      const terms = { task, purpose, resource, stage, widen, approval, details, approvalMs }
      return new AgentLease(terms, { endpoint, prover, broker, subject, fetch })
    },
  }
}
