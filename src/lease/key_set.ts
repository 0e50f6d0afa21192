// What the broker's key file holds: its signing keys, and from when to when each signs and is published. In:
// the text of the file, the time. Out: which key signs, which are published, the set after a rotation. Pure.
import { parseStrictJson } from '../strict_json.ts'
import { type PrivateJwk, thumbprint } from './jose.ts'
import { isObject } from './text.ts'

/** A key with its times, seconds since 1970. */
export interface StoredKey extends PrivateJwk {
  /** RFC 7638 thumbprint. */
  readonly kid: string
  readonly created: number
  /** It is published before, so that whoever caches the set knows it when it begins to sign. */
  readonly signs_from: number
  /** When it stops being published; absent: no other key is there to follow it. */
  readonly retires?: number
}

/** In the order in which they sign; never empty. */
export type KeySet = readonly [StoredKey, ...StoredKey[]]

/**
 * How long a key is published before it signs, seconds: a JWK set may be cached for 300 s (its `max-age`), our
 * gates ask again after 300 s, and a minute is for whatever is slow.
 */
export const publishedAheadSeconds = 660

/**
 * How long a key is published after it has signed for the last time, seconds: longer than a token lives (300)
 * on a clock that is 30 s off, and longer than any cache holds the set that named it.
 */
const publishedAfterSeconds = 660

/** Bytes of a key file at most. */
export const maxKeyFileBytes = 16_384
/** That many fit into the file. */
export const maxKeys = 32

const members: ReadonlySet<string> = new Set([
  ...['kty', 'crv', 'x', 'y', 'd'],
  ...['kid', 'created', 'signs_from', 'retires'],
])

/**
 * The keys in `text`: `{"keys": […]}`, or one bare JWK, as files had it that know no rotation, made at `bornAt`.
 * Undefined for anything else, and for a set with a member that is not understood.
 */
export async function readKeySet(text: string, bornAt: number): Promise<KeySet | undefined> {
  const json = parseStrictJson(text, { maxBytes: maxKeyFileBytes })
  if (!json.ok || !isObject(json.value)) return undefined
  if (!Object.hasOwn(json.value, 'keys')) return readBareKey(json.value, bornAt)
  const { keys, ...others } = json.value
  if (!Array.isArray(keys) || keys.length > maxKeys || Object.keys(others).length > 0) return undefined
  const stored: StoredKey[] = []
  for (const member of keys) {
    const key = readStoredKey(member)
    if (key === undefined || key.kid !== (await thumbprint(key))) return undefined
    stored.push(key)
  }
  return new Set(stored.map(({ kid }) => kid)).size === stored.length ? inOrder(stored) : undefined
}

async function readBareKey(value: unknown, bornAt: number): Promise<KeySet | undefined> {
  const jwk = readPrivateJwk(value)
  if (jwk === undefined) return undefined
  return [{ ...jwk, kid: await thumbprint(jwk), created: bornAt, signs_from: bornAt }]
}

function readStoredKey(value: unknown): StoredKey | undefined {
  const jwk = readPrivateJwk(value)
  if (jwk === undefined || !isObject(value)) return undefined
  if (Object.keys(value).some((name) => !members.has(name))) return undefined
  const { kid, created, signs_from, retires } = value
  if (typeof kid !== 'string' || !isTime(created) || !isTime(signs_from)) return undefined
  if (retires === undefined) return { ...jwk, kid, created, signs_from }
  return isTime(retires) ? { ...jwk, kid, created, signs_from, retires } : undefined
}

function readPrivateJwk(value: unknown): PrivateJwk | undefined {
  if (!isObject(value)) return undefined
  const { kty, crv, x, y, d } = value
  if (kty !== 'EC' || crv !== 'P-256') return undefined
  if (typeof x !== 'string' || typeof y !== 'string' || typeof d !== 'string') return undefined
  return { kty, crv, x, y, d }
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function inOrder(keys: readonly StoredKey[]): KeySet | undefined {
  const [first, ...rest] = keys.toSorted((a, b) => a.signs_from - b.signs_from)
  return first === undefined ? undefined : [first, ...rest]
}

/** The text of a key file. */
export function writeKeySet(keys: KeySet): string {
  return `${JSON.stringify({ keys }, null, 1)}\n`
}

/** The key that signs at `now`: the last whose time has come; on a clock that went back, the first. */
export function signerOf(keys: KeySet, now: number): StoredKey {
  return keys.findLast(({ signs_from }) => signs_from <= now) ?? keys[0]
}

/** The keys that may check a signature at `now` or soon. */
export function publishedOf(keys: KeySet, now: number): StoredKey[] {
  const signer = signerOf(keys, now)
  return keys.filter((key) => key === signer || key.retires === undefined || now < key.retires)
}

/** What a key is for at `now`; `over`: it is not published any longer. */
export function roleOf(key: StoredKey, keys: KeySet, now: number): 'next' | 'signs' | 'retired' | 'over' {
  const signer = signerOf(keys, now)
  if (key === signer) return 'signs'
  if (!publishedOf(keys, now).includes(key)) return 'over'
  return key.signs_from > signer.signs_from ? 'next' : 'retired'
}

/** The first key of a broker. */
export async function firstKeySet(jwk: PrivateJwk, now: number): Promise<KeySet> {
  return [{ ...jwk, kid: await thumbprint(jwk), created: now, signs_from: now }]
}

/** When a new key is to sign, seconds from now, and what becomes of those before it. */
export interface Rotation {
  readonly aheadSeconds: number
  /** They are not published any longer: what they have signed is refused. For a key that others have seen. */
  readonly withdraw?: true
}

/**
 * The set with `jwk` as its next key. A key that was to sign later than that never will, and is left out; so is
 * one whose time is over.
 */
export async function rotated(
  keys: KeySet,
  jwk: PrivateJwk,
  { aheadSeconds, withdraw }: Rotation,
  now: number,
): Promise<KeySet> {
  const next: StoredKey = {
    ...jwk,
    kid: await thumbprint(jwk),
    created: now,
    signs_from: now + aheadSeconds,
  }
  if (withdraw) return [next]
  const retires = next.signs_from + publishedAfterSeconds
  const [first, ...rest] = publishedOf(keys, now)
    .filter(({ signs_from }) => signs_from <= now || signs_from < next.signs_from)
    .map((key) => ({ ...key, retires: key.retires ?? retires }))
  if (first === undefined) return [next]
  return [first, ...rest, next]
}
