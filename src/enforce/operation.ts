// What the operation map says about a backend and its endpoints: plain data, made by config.ts, read by
// every step. Nothing here is computed per request.
import type { Risk, Sensitivity } from '../lease/lease.ts'
import type { CallRate } from '../lease/rate.ts'

/**
 * How the gate treats a request body. `stream`: passed on as it comes, but HTML forms are read first, so
 * that a `_method` field cannot change what was decided on, and so is the JSON of a POST. `json`: read whole,
 * parsed strictly, shown to policy. `opaque`: never read.
 */
export type BodyMode = 'stream' | 'json' | 'opaque'

/** One mapped endpoint of a backend. */
export interface Operation {
  /** As written, e.g. `GET /customers/{id}`; the label in metrics and what policy sees. */
  readonly match: string
  readonly method: string
  /** Segments of the pattern: a literal, or a parameter name. */
  readonly segments: readonly PatternSegment[]
  readonly verb: string
  /** Template without the backend name, e.g. `customer/{id}`; parameters come from the path. */
  readonly resource: string
  readonly sensitivity: Sensitivity
  readonly risk: Risk
  readonly body: BodyMode
  /** Bytes. */
  readonly bodyLimit: number
  /** `%2F` and `%2f` in a parameter are data, not a separator. */
  readonly allowEncodedSlash: boolean
  /** Query parameters that are forwarded but hidden from policy, so they may repeat. */
  readonly opaqueQuery: readonly string[]
  /** Where a request says how much it moves. Absent: it moves nothing that `max_amount` counts. */
  readonly amount?: AmountSource | undefined
  /** For all callers together. */
  readonly rate?: CallRate | undefined
  /** `match` of the reading operation that shows an approver what stands there before the change. */
  readonly before?: string | undefined
}

/** A member of the JSON body, or a parameter of the query. */
export type AmountSource =
  | { readonly from: 'body'; readonly path: readonly string[] }
  | { readonly from: 'query'; readonly name: string }

export type PatternSegment = { readonly literal: string } | { readonly param: string }

/** An API behind the gate. Durations are milliseconds. */
export interface Backend {
  readonly name: string
  /** Scheme and authority, e.g. `http://127.0.0.1:3000`. */
  readonly origin: string
  /** Path of `url` that every forwarded path is appended to; '' or `/v2`. */
  readonly basePath: string
  /** `/crm`; undefined when the backend is found by `hosts` alone. */
  readonly pathPrefix: string | undefined
  /** Authorities exactly as clients send them in Host. */
  readonly hosts: readonly string[]
  /** Header that carries the backend's own credential. Lower-case name. */
  readonly credential: { readonly header: string; readonly value: string } | undefined
  readonly connectTimeoutMs: number
  readonly headersTimeoutMs: number
  readonly idleTimeoutMs: number
  /** Connections to the backend, and requests under way above which callers get `overloaded`. */
  readonly connections: number
  readonly maxInFlight: number
  /** WebSocket upgrades are offered to this backend. */
  readonly upgrade: boolean
  /** Leases pinned to another environment are refused; undefined: not checked. */
  readonly env: string | undefined
  /** Which operations need a token that is bound to a key; `high`: those of high risk. */
  readonly requireBinding: 'never' | 'high' | 'writes' | 'always'
  /** Request headers passed on beside the built-in allow list. Lower case. */
  readonly forwardHeaders: readonly string[]
  readonly operations: readonly Operation[]
}
