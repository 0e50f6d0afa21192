// What the gate has been told about an issuer: the part of its configuration that lease tokens are held
// against. Plain data. Never read from a token.

/** One accepted issuer. Seconds throughout. */
export interface IssuerProfile {
  /** Compared with `iss` character by character. */
  readonly issuer: string
  /** What this issuer calls the gate. What only another issuer calls it is no audience of its tokens. */
  readonly audience: string
  /** JOSE names; each key is used with exactly the one in its JWK (RFC 8725 §3.1). */
  readonly algorithms: readonly string[]
  /** How far clocks may differ, 0 to 30. */
  readonly clockTolerance: number
  /** `exp - iat` at most. */
  readonly maxTokenSeconds: number
  /** `actions: ["*"]` is accepted. */
  readonly allowAnyAction: boolean
  /** `sub` prefixes that are workflows and may come without `act`. */
  readonly workflows: readonly string[]
  /** How many actors may stand in one delegation chain; 1: no `act` within `act`. */
  readonly maxActDepth: number
  /** URL prefixes of status lists; nothing else is ever fetched for a token. */
  readonly statusLists: readonly string[]
  /** The store here is that of the issuer: it knows at once what the issuer's own lists tell later. */
  readonly statusFromStore?: boolean
  /** Where each fact stands: a claim name, or a dotted path into the claims. */
  readonly claims: {
    readonly user: string
    readonly agent: string
    readonly lease: string
    readonly details: string
  }
}
