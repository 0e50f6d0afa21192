// `GET /statuslists/{n}`: the status of this broker's leases for gates that do not share its store. In: the content
// of a list. Out: a signed list (draft-ietf-oauth-status-list §5.1), for anybody: it names no lease.
import { type ListContent, type StatusContents, uriOf } from '../broker/status_list.ts'
import { Unavailable } from '../ports.ts'
import { type Refusal, refuse } from '../refusals.ts'
import type { ControlAnswer, Endpoint } from './control.ts'
import type { Sign } from './introspect.ts'

export interface StatusListParts {
  readonly contents: StatusContents
  readonly issuer: string
  readonly sign: Sign
  /** How long a reader may keep a list, seconds. */
  readonly ttlSeconds: number
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** A list that nobody could read anew is good for so many times its `ttl`. */
const lifetimes = 4

export function statusListEndpoints(parts: StatusListParts): Endpoint[] {
  const signed: Signed = new WeakMap()
  return [
    {
      method: 'GET',
      path: '/statuslists/{list}',
      access: 'open',
      takes: 'nothing',
      errors: 'problem',
      serve: ({ params }) => serveList(params.list ?? '', parts, signed),
    },
  ]
}

/** One content is signed once. */
type Signed = WeakMap<ListContent, Promise<string>>

async function serveList(
  name: string,
  parts: StatusListParts,
  signed: Signed,
): Promise<ControlAnswer | Refusal> {
  const { contents, ttlSeconds, clock } = parts
  const unknown = refuse('operation_unmapped', { detail: 'no such status list' })
  if (!/^[1-9]\d{0,8}$/.test(name)) return unknown
  const now = clock() / 1000
  try {
    const content = await contents.contentOf(Number(name), now)
    if (content === undefined) return unknown
    const known = signed.get(content)
    const body = known ?? signList(Number(name), content, Math.floor(now), parts)
    if (known === undefined) signed.set(content, body)
    const headers = {
      'content-type': 'application/statuslist+jwt',
      'cache-control': `max-age=${ttlSeconds}`,
    }
    return { status: 200, body: await body, headers }
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    return refuse('evidence_unavailable', { detail: 'the list cannot be made now', cause: error.message })
  }
}

function signList(
  list: number,
  content: ListContent,
  iat: number,
  { issuer, sign, ttlSeconds }: StatusListParts,
): Promise<string> {
  const times = { iat, exp: iat + lifetimes * ttlSeconds, ttl: ttlSeconds }
  return sign('statuslist+jwt', { iss: issuer, sub: uriOf(issuer, list), ...times, status_list: content })
}
