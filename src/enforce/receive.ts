// Raw head in, one CleanRequest or a refusal out. Refuses what two parsers could read differently and
// never repairs it. Pure. Enforces in order: version and framing, sizes, fields, authority, target.
import { isRefusal, type Refusal, refuse } from '../refusals.ts'
import { isForbiddenNomination, readFields } from './fields.ts'
import type { CleanRequest, RawHead } from './stages.ts'
import { parseTarget } from './target.ts'

/** What the configuration says about messages. Sizes in bytes. */
export interface ReceiveRules {
  /** Lower-case authorities this gate answers for, exactly as clients write them in Host. */
  readonly authorities: ReadonlySet<string>
  readonly headerBytes: number
  readonly headerFields: number
  readonly targetBytes: number
  /** Some operation takes `%2F` as data; route.ts decides which. */
  readonly encodedSlash: boolean
  /** Our pseudonym in `Via`. */
  readonly via: string
}

/** Every other method is answered 405, mapped or not. */
export const servedMethods: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const hostPort = /^(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9._])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/

/** The one reading of `head`, or why there is none. `OPTIONS *` comes out with the path `*`. */
export function receive(head: RawHead, rules: ReceiveRules): CleanRequest | Refusal {
  if (head.httpVersion !== '1.1' && head.httpVersion !== '1.0') {
    return refuse('malformed_framing', { detail: 'only HTTP/1.1 and HTTP/1.0 are spoken here' })
  }
  if (head.target.length > rules.targetBytes) {
    return refuse('target_too_long', { detail: `the target is longer than ${rules.targetBytes} bytes` })
  }
  const fields = readFields(head, rules)
  if (isRefusal(fields)) return fields
  if (!servedMethods.includes(head.method)) {
    return refuse('method_not_allowed', { allow: servedMethods, detail: `${head.method} is not served` })
  }
  const forbidden = fields.nominated.find(isForbiddenNomination)
  if (forbidden !== undefined) {
    return refuse('malformed_request', { detail: 'Connection nominates a field that must reach the gate' })
  }
  const authority = fields.host.toLowerCase()
  if (!rules.authorities.has(authority)) {
    return hostPort.test(authority)
      ? refuse('unknown_authority', { detail: 'Host names an authority this gate does not answer for' })
      : refuse('malformed_request', { detail: 'Host is not a plain host or host:port' })
  }
  return readTarget(head, rules, { ...fields, authority })
}

type Fields = Exclude<ReturnType<typeof readFields>, Refusal> & { readonly authority: string }

function readTarget(head: RawHead, rules: ReceiveRules, fields: Fields): CleanRequest | Refusal {
  const { host: _host, ...known } = fields
  const connection = { peer: head.peer, certificate: head.certificate }
  if (head.target === '*') {
    if (head.method !== 'OPTIONS') return refuse('malformed_request', { detail: '`*` is for OPTIONS only' })
    const asterisk = { path: '*', segments: [], hasEncodedSlash: false, queryText: undefined, query: [] }
    return { ...known, ...asterisk, ...connection, method: head.method }
  }
  const target = parseTarget(head.target, rules.encodedSlash)
  if ('problem' in target) {
    const code = target.kind === 'credential' ? 'credential_in_query' : 'malformed_request'
    return refuse(code, { detail: target.problem })
  }
  if (target.authority !== undefined && target.authority !== fields.authority) {
    return rules.authorities.has(target.authority)
      ? refuse('malformed_request', { detail: 'the target and Host name different authorities' })
      : refuse('unknown_authority', { detail: 'the target names an authority this gate does not answer for' })
  }
  const carriesBody = fields.chunked || (fields.contentLength ?? 0) > 0
  if (carriesBody && (head.method === 'GET' || head.method === 'HEAD')) {
    return refuse('malformed_request', {
      detail: `${head.method} with a body has no agreed meaning`,
      close: true,
    })
  }
  const { path, segments, hasEncodedSlash, queryText, query } = target
  return { ...known, ...connection, method: head.method, path, segments, hasEncodedSlash, queryText, query }
}
