// The shapes of the API that the pages read (openapi.json), as types. Nothing at run time.

/**
 * @typedef {object} Me
 * @property {string} user
 * @property {string[]} groups
 * @property {string[]} roles
 * @property {number} expires_at
 * @property {'oidc' | 'link' | 'token'} sign_in
 * @property {'never' | 'high' | 'always'} passkeys
 * @property {boolean} has_passkey
 */

/**
 * @typedef {object} What
 * @property {string} backend
 * @property {string} operation
 * @property {string} verb
 * @property {string} resource
 * @property {string} sensitivity
 * @property {string} risk
 * @property {string} method
 * @property {string} path
 * @property {string} [content_type]
 * @property {number} body_bytes
 * @property {string} body_digest
 */

/**
 * @typedef {object} ActionView
 * @property {string} id
 * @property {'hold' | 'draft' | 'lease'} kind
 * @property {string} state
 * @property {string} fingerprint
 * @property {string} group
 * @property {number} created_at
 * @property {number} expires_at
 * @property {string | null} [decision_id]
 * @property {Partial<What>} what
 * @property {{ id?: string | null, user?: string, agent?: { id?: string, version?: string | null, env?: string | null },
 *   task?: { system?: string, id?: string, purpose?: string }, stage?: string }} lease
 * @property {{ effect?: string, reasons?: string[], policy_digest?: string }} [said]
 * @property {{ approvers: string[], quorum: number, reason_required: boolean, after_lease?: number,
 *   repeat?: { calls: number, seconds: number } | null }} terms
 * @property {{ user: string, at: number, reason: string, shown_by: string | null }[]} yes
 * @property {{ by: string, at: number, reason: string }} [ended]
 * @property {{ decision_id: string, status?: number | null, code?: string | null, bytes: number, at: number }} [outcome]
 * @property {{ may: boolean, why_not?: string, reason_required: boolean, step_up: boolean, passkey: boolean }} you
 * @property {unknown} [request]
 * @property {Call | null} [call] Null: it cannot be read any more.
 */

/** @typedef {{ method: string, target: string, headers: [string, string][], body_base64: string }} Call */

/**
 * @typedef {object} LeaseView
 * @property {string} id
 * @property {string} state
 * @property {{ user: string }} who
 * @property {{ id: string, version: string, env: string, profile?: string, client_id?: string }} agent
 * @property {{ stage: string, audience: string, authorization_details: any[] }} what
 * @property {{ system: string, id: string, purpose: string }} why
 * @property {{ issued_at: number, ends_at: number, token_expires_at: number, renewals: number }} when
 * @property {{ calls: number, verbs: Record<string, number>, refusals: number, bytes_in: number, bytes_out: number,
 *   last_used_at: number | null }} what_happened
 * @property {{ by: string, reason: string, at: number } | null} revoked
 * @property {{ by: string, reason: string, at: number } | null} suspended
 * @property {{ points: number, calls: number, window_seconds: number, reach: any[] }} [blast_radius]
 */

/**
 * @typedef {object} LeaseSummary
 * @property {string} id
 * @property {string} state
 * @property {string} user
 * @property {string} agent
 * @property {string} task
 * @property {string} purpose
 * @property {string} stage
 * @property {number} issued_at
 * @property {number} ends_at
 * @property {number} calls
 * @property {number} refusals
 * @property {number} points
 */

/**
 * @typedef {object} DecisionRow
 * @property {string} time
 * @property {string} decision_id
 * @property {string | null} lease_id
 * @property {{ user: string } | null} who
 * @property {{ id: string, version: string } | null} agent
 * @property {{ backend: string | null, verb: string | null, resource: string | null, method: string, path: string | null }} what
 * @property {{ effect: string, code: string | null, reasons: string[] }} decision
 * @property {{ status: number | null, duration_ms: number, ended: string }} outcome
 */

/**
 * @typedef {object} Gate
 * @property {string} id
 * @property {string} host
 * @property {number} pid
 * @property {string} role
 * @property {number} workers
 * @property {string} version
 * @property {number} started_at
 * @property {number} seen_at
 * @property {string | null} policy_digest
 * @property {number | null} revocation_age_ms
 * @property {number | null} revocation_entries
 * @property {unknown} store
 * @property {boolean} ready
 * @property {string[]} faults
 */

export {}
