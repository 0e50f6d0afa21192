// In: a reference from a proven token. Out: nothing when its status is VALID, else the refusal. Implements
// draft-ietf-oauth-status-list for JWT lists. Fetches only below the URL prefixes configured for the
// issuer. A list that cannot be read is 503, one that fails a check is 401; neither ever passes.
import { promisify } from 'node:util'
import { inflate } from 'node:zlib'
import { isRefusal, type Refusal } from '../refusals.ts'
import type { StatusReference } from './claims.ts'
import { decodeCanonical, readCompact } from './compact.ts'
import { type Fault, fault } from './faults.ts'
import { type Fetch, fetchBounded } from './fetch.ts'
import type { Keys } from './keys.ts'
import type { IssuerProfile } from './profile.ts'
import { proveSignature } from './signature.ts'
import { isObject, own } from './text.ts'

export interface StatusLists {
  /** Synchronous while the list is in memory. Undefined: the token still stands. */
  check(
    profile: IssuerProfile,
    reference: StatusReference,
    nowSeconds: number,
  ): Refusal | undefined | Promise<Refusal | undefined>
}

/** A list in memory, or why there is none; either way until `until`. */
interface Known {
  readonly list: StatusList | Fault
  readonly until: number
}

interface StatusList {
  readonly bits: 1 | 2 | 4 | 8
  readonly bytes: Uint8Array
}

const maxListBytes = 1 << 20
const maxInflatedBytes = 4 << 20
const maxLists = 64
/** Without `ttl`, and the most that a `ttl` may ask for. */
const defaultSeconds = 300
const maxSeconds = 3600
/** A list that failed is not asked for again before this. */
const failedSeconds = 5

const types: ReadonlySet<string> = new Set(['statuslist+jwt', 'application/statuslist+jwt'])
const inflateBounded = promisify(inflate)

/** Lists are cached until their `ttl` or `exp`, at most an hour and 64 lists; one fetch at a time for each. */
export function createStatusLists({
  keys,
  fetch = fetchBounded,
}: {
  keys: Keys
  fetch?: Fetch
}): StatusLists {
  const lists = new Map<string, Known>()
  const loading = new Map<string, Promise<Known>>()

  async function load(profile: IssuerProfile, uri: string, key: string, now: number): Promise<Known> {
    const bytes = await fetch(uri, {
      accept: 'application/statuslist+jwt',
      maxBytes: maxListBytes,
      timeoutMs: 2000,
    })
    const read: Known | Fault =
      bytes === undefined ? 'status_list_unavailable' : await readList(bytes, { profile, uri, keys, now })
    const known = typeof read === 'string' ? { list: read, until: now + failedSeconds } : read
    const [oldest] = lists.keys()
    if (lists.size >= maxLists && oldest !== undefined) lists.delete(oldest)
    lists.set(key, known)
    return known
  }

  return {
    check(profile, { uri, idx }, now) {
      if (!isUnder(uri, profile.statusLists)) return fault('status_list_not_allowed')
      // By issuer: two issuers that share a host do not vouch for one another's lists.
      const key = `${profile.issuer}\n${uri}`
      const known = lists.get(key)
      if (known !== undefined && now < known.until) return judge(known, idx)
      lists.delete(key)
      let under = loading.get(key)
      if (under === undefined) {
        under = load(profile, uri, key, now).finally(() => loading.delete(key))
        loading.set(key, under)
      }
      return under.then((loaded) => judge(loaded, idx))
    },
  }
}

/** Whether a URL, in its one canonical spelling, is one of the prefixes or stands below one. */
function isUnder(uri: string, prefixes: readonly string[]): boolean {
  const url = URL.parse(uri)
  if (url === null || url.href !== uri || url.username !== '' || url.password !== '' || url.hash !== '') {
    return false
  }
  return prefixes.some(
    (prefix) => uri === prefix || uri.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`),
  )
}

function judge({ list }: Known, idx: number): Refusal | undefined {
  if (typeof list === 'string') return fault(list)
  // Statuses are packed from the lowest bit of each byte upwards (§4.1).
  const perByte = 8 / list.bits
  const byte = list.bytes[Math.floor(idx / perByte)]
  if (byte === undefined) return fault('status_list_invalid')
  const status = (byte >> ((idx % perByte) * list.bits)) & ((1 << list.bits) - 1)
  return status === 0 ? undefined : fault('status_not_valid')
}

interface ListContext {
  readonly profile: IssuerProfile
  readonly uri: string
  readonly keys: Keys
  readonly now: number
}

/** Every check of §8.3: type, signature of the same issuer, `sub`, times, width, bounded inflation. */
async function readList(bytes: Uint8Array, context: ListContext): Promise<Known | Fault> {
  const { profile, uri, keys, now } = context
  const token = readCompact(Buffer.from(bytes).toString('latin1').trim(), types, maxListBytes)
  if (isRefusal(token)) return 'status_list_invalid'
  const key = await proveSignature(token, profile, keys)
  if (isRefusal(key)) {
    return key.code === 'evidence_unavailable' ? 'status_list_unavailable' : 'status_list_invalid'
  }
  const { claims } = token
  const iss = own(claims, 'iss')
  if (own(claims, 'sub') !== uri || (iss !== undefined && iss !== profile.issuer))
    return 'status_list_invalid'
  const until = freshUntil(claims, profile.clockTolerance, now)
  const list = await unpack(own(claims, 'status_list'))
  return until === undefined || list === undefined ? 'status_list_invalid' : { list, until }
}

/** When the list has to be read again; undefined when its times are malformed, over, or yet to come. */
function freshUntil(claims: Record<string, unknown>, tolerance: number, now: number): number | undefined {
  const iat = own(claims, 'iat')
  const exp = Object.hasOwn(claims, 'exp') ? claims.exp : Number.MAX_SAFE_INTEGER
  const ttl = Object.hasOwn(claims, 'ttl') ? claims.ttl : defaultSeconds
  if (typeof iat !== 'number' || typeof exp !== 'number' || typeof ttl !== 'number') return undefined
  if (iat > now + tolerance || exp <= now - tolerance || ttl <= 0) return undefined
  return Math.min(exp + tolerance, now + Math.min(ttl, maxSeconds))
}

async function unpack(value: unknown): Promise<StatusList | undefined> {
  if (!isObject(value)) return undefined
  const { bits, lst } = value
  if (bits !== 1 && bits !== 2 && bits !== 4 && bits !== 8) return undefined
  const packed = typeof lst === 'string' ? decodeCanonical(lst) : undefined
  if (packed === undefined) return undefined
  try {
    return { bits, bytes: await inflateBounded(packed, { maxOutputLength: maxInflatedBytes }) }
  } catch {
    return undefined
  }
}
