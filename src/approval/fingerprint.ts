// The name of one exact action: whatever a human looks at before they say yes, and whatever changes what the backend
// does, is in it. In: an authenticated request and its body. Out: a digest. Pure.
import { createHash } from 'node:crypto'
import type { Authenticated, CleanRequest } from '../enforce/stages.ts'

/**
 * Fields that say nothing about the action: who sends it, how the answer is to look, how long to wait. Every other
 * field that is passed on is part of it.
 */
const besideTheAction: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'pragma',
  'prefer',
  'sec-websocket-key',
  'tracestate',
  'user-agent',
  'x-request-id',
])

/** `sha-256:` + base64url of the SHA-256 of `body`. */
export function digestOf(body: Uint8Array): string {
  return `sha-256:${createHash('sha256').update(body).digest('base64url')}`
}

/**
 * Names the action: lease, task, method, backend, host, path, query, fields and body. An approval is for a fingerprint, so
 * any change of these needs another one (test/approval/fingerprint.test.ts).
 */
export function fingerprintOf(
  authenticated: Authenticated,
  passed: readonly string[],
  body: Uint8Array,
): string {
  const { lease, request, mapped, backend } = authenticated
  const parts = [
    lease.issuer,
    lease.id,
    lease.task.system,
    lease.task.id,
    request.method,
    backend.name,
    // Backends read it in `Forwarded`.
    request.authority,
    mapped.backendPath,
    request.queryText ?? null,
    fieldsOf(passed),
    preferences(request),
    digestOf(body),
  ]
  return digestOf(Buffer.from(JSON.stringify(parts)))
}

/** In the order of their names; of one name in the order they came. */
function fieldsOf(passed: readonly string[]): string[][] {
  const fields: string[][] = []
  for (let at = 0; at < passed.length; at += 2) {
    if (!besideTheAction.has(passed[at]!)) fields.push([passed[at]!, passed[at + 1]!])
  }
  return fields.sort(([a], [b]) => (a! < b! ? -1 : a! > b! ? 1 : 0))
}

/** RFC 7240: all but a plain `wait`, which is for the gate. Quoted text may hold commas: such a field counts whole. */
function preferences({ headers }: CleanRequest): string[] {
  const all: string[] = []
  for (let at = 0; at < headers.length; at += 2) {
    const [name, value] = [headers[at]!, headers[at + 1]!]
    if (name === 'prefer') all.push(...(value.includes('"') ? [value] : value.split(',')))
  }
  return all.map((each) => each.trim()).filter((each) => !/^(?:wait\s*=\s*[0-9]+)?$/i.test(each))
}
