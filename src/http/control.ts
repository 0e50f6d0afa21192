// The control listener: the broker's endpoints and the operators' calls. In: endpoints. Out: a server that
// finds the endpoint, checks who calls, reads the body within bounds, and answers. ADD AN ENDPOINT in the file
// of its part and to the list in compose.ts. Decides nothing about leases.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Form, SenderFacts } from '../broker/parties.ts'
import type { TlsFiles } from '../config.ts'
import {
  isRefusal,
  type Refusal,
  type RefusalCode,
  type RefusalFacts,
  refusals,
  refuse,
} from '../refusals.ts'
import { type Caller, callerOf, hasRole, notAllowed, type Role } from './caller.ts'
import { signInPath } from './console/place.ts'
import { csrfHeader, type Origins } from './console/same_site.ts'
import { answerHeaders } from './console/security_headers.ts'
import { readForm, readJson, readToken } from './control_body.ts'
import type { Description } from './description.ts'
import { endAnswer } from './ending.ts'
import { type Operator, operatorOf } from './operators.ts'
import { beginStream, type StreamBody, streamHeaders } from './server_sent.ts'
import { certificateOf, createWebServer } from './tls.ts'

/** A call that has found its endpoint. */
export interface ControlCall {
  /** Parts of the path that the endpoint names, e.g. `id` of `/leases/{id}`; decoded. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** The JSON body of an endpoint that takes JSON. */
  readonly json: unknown
  /** The form of an endpoint that takes a form. */
  readonly form: Form
  /** The body of an endpoint that takes a token, as it came. */
  readonly jwt: string
  readonly sender: SenderFacts
  /** Lower-case names; the first value of each. */
  readonly header: (name: string) => string | undefined
  /** Where a browser says that it comes from. */
  readonly origins: Origins
  /** Who calls, by token or by session; undefined on an endpoint that anybody may call. */
  readonly caller: Caller | undefined
  /** Address of the connection's other end. */
  readonly peer: string
}

/** What is known of a call before its body is read. */
export type RefusedCall = Pick<ControlCall, 'params' | 'caller' | 'peer'>

export interface ControlAnswer {
  readonly status: number
  /** Sent as JSON; a string is sent as it is. Absent: no body. */
  readonly body?: object | string
  /** In place of a body: events, for as long as somebody reads them. Called once, even if nobody does any more. */
  readonly stream?: StreamBody
  /** Lower-case names. `cache-control: no-store` unless told otherwise. */
  readonly headers?: Readonly<Record<string, string>>
  /** Values of `Set-Cookie`. */
  readonly cookies?: readonly string[]
}

/** People who are signed in, as the listener asks about them. */
export interface People {
  /** Sessions that a `Cookie` header names. */
  sessionsIn(cookie: string | undefined): readonly string[]
  /**
   * Whose session it is; undefined: nobody's, or it is over. Refuses with `cross_site` a request that another page
   * may have sent, with `evidence_unavailable` where the store has no answer.
   */
  callerOf(session: string, req: IncomingMessage): Promise<Caller | Refusal | undefined>
}

export interface Endpoint {
  readonly method: 'GET' | 'POST'
  /** `/leases/{id}`: a part in braces is any one segment. */
  readonly path: string
  /**
   * The roles of which a caller needs one; an admin has them all. `open`: anybody may call, or the endpoint itself
   * finds out who calls (OAuth); there `caller` may have any role.
   */
  readonly access: 'open' | readonly Role[]
  /** `jwt`: a security event token (RFC 8935 §2.1). */
  readonly takes: 'nothing' | 'json' | 'form' | 'jwt'
  /** How a refusal is written: RFC 9457, RFC 6749 §5.2 or RFC 8935 §2.3. */
  readonly errors: 'problem' | 'oauth' | 'set'
  /** Headers that each of its answers carries, refusals too. */
  readonly headers?: () => Readonly<Record<string, string>>
  readonly serve: (call: ControlCall) => Promise<ControlAnswer | Refusal> | ControlAnswer | Refusal
  /** Told of a request that is refused before it is one to serve: another method, or a body that cannot be read. */
  readonly refused?: (refusal: Refusal, call: RefusedCall) => void
  /** For people and programs that read `GET /openapi.json`. */
  readonly describe?: Description
}

export interface ControlParts {
  readonly endpoints: readonly Endpoint[]
  readonly operators: readonly Operator[]
  /** Absent: nobody signs in here. */
  readonly people?: People | undefined
  /** What the endpoints are published under: scheme, authority and perhaps a path, without a slash at the end. */
  readonly publicUrl: string
  /** Absent: plain HTTP. */
  readonly tls?: TlsFiles | undefined
  /** Told of what should not happen; the caller gets a bare 500. */
  readonly onBug: (error: unknown) => void
}

/** Builds the listener; the caller binds it. */
export function createControlListener(parts: ControlParts): Server {
  return createWebServer({ headersTimeout: 10_000, requestTimeout: 30_000 }, parts.tls, (req, res) => {
    const path = (req.url ?? '').split('?')[0]!
    const found = parts.endpoints.flatMap((endpoint) => {
      const params = match(endpoint.path, path)
      return params === undefined ? [] : [{ endpoint, params }]
    })
    serve(req, found, parts)
      .catch((bug) => {
        parts.onBug(bug)
        return refuse('internal_error')
      })
      .then((answer) => {
        const headers = found[0]?.endpoint.headers?.() ?? {}
        if (isRefusal(answer)) sendRefusal(res, answer, found[0]?.endpoint.errors ?? 'problem', headers)
        else send(res, answer, headers)
      })
  })
}

interface Found {
  readonly endpoint: Endpoint
  readonly params: Readonly<Record<string, string>>
}

async function serve(
  req: IncomingMessage,
  found: readonly Found[],
  parts: ControlParts,
): Promise<ControlAnswer | Refusal> {
  // Read now: a request that its sender has given up has no socket any more.
  const peer = req.socket.remoteAddress ?? ''
  const isOpen = found.length > 0 && found.every(({ endpoint }) => endpoint.access === 'open')
  const caller = await findCaller(req, isOpen, parts)
  const ready = isRefusal(caller) ? caller : await prepare(req, found, caller, parts.publicUrl)
  if (!isRefusal(ready)) return ready.endpoint.serve({ ...ready.call, peer })
  const { endpoint, params } = found[0] ?? {}
  endpoint?.refused?.(ready, { params: params ?? {}, caller: isRefusal(caller) ? undefined : caller, peer })
  return ready
}

/** Who calls; undefined: nobody in particular, which is enough where everybody may. */
async function findCaller(
  req: IncomingMessage,
  isOpen: boolean,
  { operators, people }: ControlParts,
): Promise<Caller | Refusal | undefined> {
  const sessions = people?.sessionsIn(req.headers.cookie) ?? []
  const credentials = (req.headersDistinct.authorization ?? []).length + sessions.length
  if (credentials > 1) return refuse('credential_ambiguous', { detail: 'send one token or one session' })
  const operator = operatorOf(req.headers.authorization, operators)
  if (operator !== undefined) return callerOf(operator)
  const [session] = sessions
  // A page that is for everybody is so for other sites' visitors too: only who shows the value is that person there.
  const shows = !isOpen || req.headers[csrfHeader] !== undefined
  const person = session !== undefined && shows ? await people?.callerOf(session, req) : undefined
  if (person !== undefined || isOpen) return person
  return session !== undefined || req.headers['sec-fetch-site'] !== undefined
    ? refuse('sign_in_required', { answer: { sign_in: signInPath } })
    : refuse('operator_required', { detail: 'send the operator token as `Authorization: Bearer …`' })
}

/** Finds the endpoint for the method, checks what the caller may do and reads the body. */
async function prepare(
  req: IncomingMessage,
  found: readonly Found[],
  caller: Caller | undefined,
  publicUrl: string,
): Promise<{ readonly endpoint: Endpoint; readonly call: Omit<ControlCall, 'peer'> } | Refusal> {
  const here = found.find(({ endpoint }) => endpoint.method === req.method)
  if (here === undefined) {
    if (found.length === 0) return refuse('operation_unmapped', { detail: 'no such endpoint' })
    return refuse('method_not_allowed', { allow: found.map(({ endpoint }) => endpoint.method) })
  }
  const { endpoint, params } = here
  const { access } = endpoint
  if (access !== 'open' && !(caller !== undefined && hasRole(caller, access))) return notAllowed(access)
  const json = endpoint.takes === 'json' ? await readJson(req) : undefined
  if (isRefusal(json)) return json
  const form = endpoint.takes === 'form' ? await readForm(req) : new Map()
  if (isRefusal(form)) return form
  const jwt = endpoint.takes === 'jwt' ? await readToken(req) : ''
  if (isRefusal(jwt)) return jwt
  const url = new URL(req.url ?? '/', 'http://control')
  const call = {
    params,
    query: url.searchParams,
    json,
    form,
    jwt,
    sender: senderOf(req, `${publicUrl}${url.pathname}`),
    header: (name: string) => req.headersDistinct[name]?.[0],
    origins: { method: req.method, headers: req.headers },
    caller,
  }
  return { endpoint, call }
}

/** What the request says about who sent it. */
function senderOf(req: IncomingMessage, url: string): SenderFacts {
  return {
    proofs: req.headersDistinct.dpop ?? [],
    authorization: req.headers.authorization !== undefined,
    certificate: certificateOf(req.socket),
    method: req.method ?? '',
    url,
  }
}

/** The named parts of `path` under `pattern`; undefined when it is another path. */
function match(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split('/')
  const given = path.split('/')
  if (wanted.length !== given.length) return undefined
  const params: Record<string, string> = {}
  for (const [at, part] of wanted.entries()) {
    const segment = given[at]!
    const name = /^\{(\w+)\}$/.exec(part)?.[1]
    if (name === undefined) {
      if (part !== segment) return undefined
      continue
    }
    // What an id is made of needs no encoding, so nothing is decoded.
    if (!/^[\w.~:@-]{1,200}$/.test(segment)) return undefined
    params[name] = segment
  }
  return params
}

/** What RFC 6749 §5.2 and RFC 8935 §2.4 have no code of their own for; the status says it. */
const unnamed: ReadonlySet<RefusalCode> = new Set(['method_not_allowed', 'body_too_large'])

function sendRefusal(
  res: ServerResponse,
  { code, row, facts }: Refusal,
  errors: Endpoint['errors'],
  ofEndpoint: Readonly<Record<string, string>>,
): void {
  const { status, title } = row
  const { detail = title, allow, nonce } = facts
  const error = row.error ?? (unnamed.has(code) ? 'invalid_request' : code)
  const bodies = {
    problem: { title, status, detail, code, reasons: facts.reasons },
    oauth: { error, error_description: oauthText(detail) },
    set: { err: error, description: detail },
  }
  const body = { ...bodies[errors], ...facts.answer }
  const retryAfter = facts.retryAfter ?? row.retryAfter
  const headers = {
    ...ofEndpoint,
    ...(errors === 'problem' && { 'content-type': 'application/problem+json' }),
    ...(errors === 'set' && { 'content-language': 'en' }),
    ...(status === 401 && { 'www-authenticate': challengeOf(code, facts.answer) }),
    ...(allow !== undefined && { allow: allow.join(', ') }),
    ...(nonce !== undefined && { 'dpop-nonce': nonce }),
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
  }
  send(res, { status, body, headers }, {})
}

/** RFC 6750 §3, RFC 9470 §3. What a fresh sign-in has to be like stands in the body under the same names. */
function challengeOf(code: RefusalCode, { acr_values, max_age }: RefusalFacts['answer'] = {}): string {
  if (code !== 'reauthentication_required') return 'Bearer'
  const wanted = [`error="${refusals[code].error}"`]
  if (acr_values !== undefined) wanted.push(`acr_values="${acr_values}"`)
  if (max_age !== undefined) wanted.push(`max_age="${max_age}"`)
  return `Bearer ${wanted.join(', ')}`
}

/** What `error_description` may hold (RFC 6749 §5.2). */
function oauthText(text: string): string {
  return text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/gu, '?')
}

function send(
  res: ServerResponse,
  { status, body, stream, headers = {}, cookies = [] }: ControlAnswer,
  ofEndpoint: Readonly<Record<string, string>>,
): void {
  const all: Record<string, string | string[]> = {
    'cache-control': 'no-store',
    ...answerHeaders,
    ...ofEndpoint,
    ...headers,
  }
  if (cookies.length > 0) all['set-cookie'] = [...cookies]
  if (stream !== undefined) {
    beginStream(res, { headers: { ...all, ...streamHeaders }, body: stream })
    return
  }
  if (body !== undefined && all['content-type'] === undefined) all['content-type'] = 'application/json'
  if (!res.req.complete) all.connection = 'close'
  const text = typeof body === 'object' ? `${JSON.stringify(body)}\n` : body
  if (text !== undefined) all['content-length'] = String(Buffer.byteLength(text))
  res.writeHead(status, all)
  if (text !== undefined) res.write(text)
  endAnswer(res.req, res)
}
