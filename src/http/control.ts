// The operators' listener: revocations now, the broker's endpoints later. Every call but the public keys
// needs the operator token. ADD AN ENDPOINT HERE: a row in `endpoints`.
import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { makeRevocation } from '../broker/revocation.ts'
import { type RevocationScope, revocationScopes } from '../lease/lease.ts'
import type { Store } from '../ports.ts'
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { parseStrictJson } from '../strict_json.ts'

export interface ControlParts {
  readonly store: Store
  /** Compared by digest; never printed. */
  readonly operatorToken: string
  /** The local broker's public keys, as a JWK set. */
  readonly jwks: () => object
  /** Seconds since 1970. */
  readonly now: () => number
  /** Told of what should not happen; the caller gets a bare 500. */
  readonly onBug: (error: unknown) => void
}

interface Answer {
  readonly status: number
  readonly body: object
}

interface Endpoint {
  readonly method: string
  readonly path: string
  readonly open?: true
  readonly serve: (body: unknown, parts: ControlParts) => Promise<Answer | Refusal> | Answer | Refusal
}

const endpoints: readonly Endpoint[] = [
  { method: 'GET', path: '/jwks', open: true, serve: (_, { jwks }) => ({ status: 200, body: jwks() }) },
  { method: 'POST', path: '/revocations', serve: revoke },
]

const maxBodyBytes = 16_384

/** Builds the listener; the caller binds it. */
export function createControlListener(parts: ControlParts): Server {
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000 }, (req, res) => {
    serve(req, parts)
      .catch((bug) => {
        parts.onBug(bug)
        return refuse('internal_error')
      })
      .then((answer) => send(res, answer))
  })
  return server
}

async function serve(req: IncomingMessage, parts: ControlParts): Promise<Answer | Refusal> {
  const path = (req.url ?? '').split('?')[0]
  const here = endpoints.filter((endpoint) => endpoint.path === path)
  const endpoint = here.find(({ method }) => method === req.method)
  if (endpoint?.open !== true && !isOperator(req.headers.authorization, parts.operatorToken)) {
    return refuse('operator_required', { detail: 'send the operator token as `Authorization: Bearer …`' })
  }
  if (endpoint === undefined) {
    if (here.length === 0) return refuse('operation_unmapped', { detail: 'no such endpoint' })
    return refuse('method_not_allowed', { allow: here.map(({ method }) => method) })
  }
  const body = endpoint.method === 'GET' ? undefined : await readJson(req)
  return isRefusal(body) ? body : endpoint.serve(body, parts)
}

function isOperator(credential: string | undefined, operatorToken: string): boolean {
  const token = /^bearer +(\S+)$/i.exec(credential ?? '')?.[1]
  if (token === undefined) return false
  return timingSafeEqual(digest(token), digest(operatorToken))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

async function readJson(req: IncomingMessage): Promise<unknown> {
  if (!/^application\/json\b/i.test(req.headers['content-type'] ?? '')) {
    return refuse('malformed_request', { detail: 'send application/json' })
  }
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req) {
    size += chunk.length
    if (size > maxBodyBytes) return refuse('body_too_large', { detail: `at most ${maxBodyBytes} bytes` })
    chunks.push(chunk)
  }
  const parsed = parseStrictJson(Buffer.concat(chunks), { maxBytes: maxBodyBytes })
  return parsed.ok
    ? parsed.value
    : refuse('malformed_request', { detail: `not acceptable JSON: ${parsed.problem}` })
}

/** `{ "lease": "lse_…", "reason": "…" }`: exactly one scope, a reason, optionally `issuer` and `by`. */
async function revoke(body: unknown, { store, now }: ControlParts): Promise<Answer | Refusal> {
  const ask = readAsk(body)
  if (isRefusal(ask)) return ask
  const entry = makeRevocation(ask, Math.floor(now()))
  if (isRefusal(entry)) return entry
  try {
    await store.revocations.revoke(entry)
  } catch (error) {
    const cause = error instanceof Error ? error.message : 'unknown'
    return refuse('evidence_unavailable', { detail: 'not revoked: the store did not take the entry', cause })
  }
  const { scope, value, cutoff, expiresAt, reason, by, at } = entry
  return { status: 201, body: { scope, value, cutoff, expires_at: expiresAt, reason, by, at } }
}

function readAsk(body: unknown) {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return badAsk('send a JSON object')
  const fields = body as Record<string, unknown>
  for (const [name, value] of Object.entries(fields)) {
    const known = name === 'reason' || name === 'by' || name === 'issuer' || isScope(name)
    if (!known) return badAsk(`unknown member ${JSON.stringify(name)}`)
    if (typeof value !== 'string' || !/^[^\p{Cc}]{1,256}$/u.test(value)) {
      return badAsk(`${name} has to be a string of 1 to 256 characters`)
    }
  }
  const scopes = Object.keys(fields).filter(isScope)
  const { reason, by, issuer } = fields as Record<string, string>
  if (scopes.length !== 1) return badAsk(`name exactly one of ${revocationScopes.join(', ')}`)
  if (reason === undefined) return badAsk('give a reason')
  const scope = scopes[0]!
  const value = fields[scope] as string
  return { scope, value, reason, by: by ?? 'operator', ...(issuer === undefined ? {} : { issuer }) }
}

function isScope(name: string): name is RevocationScope {
  return (revocationScopes as readonly string[]).includes(name)
}

function badAsk(detail: string): Refusal {
  return refuse('malformed_request', { detail })
}

function send(res: ServerResponse, answer: Answer | Refusal): void {
  const refused = isRefusal(answer)
  const status = refused ? answer.row.status : answer.status
  const body = refused
    ? { title: answer.row.title, status, detail: answer.facts.detail, code: answer.code }
    : answer.body
  res.setHeader('content-type', refused ? 'application/problem+json' : 'application/json')
  res.setHeader('cache-control', 'no-store')
  if (refused && status === 401) res.setHeader('www-authenticate', 'Bearer')
  if (refused && answer.facts.allow !== undefined) res.setHeader('allow', answer.facts.allow.join(', '))
  if (!res.req.complete) res.setHeader('connection', 'close')
  res.writeHead(status).end(`${JSON.stringify(body)}\n`)
}
