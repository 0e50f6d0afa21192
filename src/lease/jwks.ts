// In: a JWK set (RFC 7517 §5) as bytes, from an issuer. Out: the keys of it that may check a lease token.
// Never a symmetric key, never a private member, never a key whose algorithm is left open.
import { parseStrictJson } from '../strict_json.ts'
import { algorithms, type CryptoKey, importPublicKey, type PublicJwk, thumbprint } from './jose.ts'
import { isObject, isPlainText } from './text.ts'

/** Bytes of a JWK set at most. */
export const maxJwksBytes = 256 * 1024

/** A public key that checks signatures of one issuer. The same key is the same object over refreshes. */
export interface Key {
  readonly issuer: string
  readonly kid: string
  readonly alg: string
  /** RFC 7638. */
  readonly thumbprint: string
  readonly handle: CryptoKey
}

/** Keys of one issuer by `kid`; one `kid` is one key with one algorithm. */
export type KeyRing = ReadonlyMap<string, Key>

/** Which keys of a set are taken. */
export interface KeyRules {
  /** Values of `use` beside none at all. */
  readonly uses: readonly string[]
  /**
   * A key that leaves `alg` open is for the one algorithm of these that fits it; where several fit, it is not
   * used. Empty: keys have to say.
   */
  readonly assumed: readonly string[]
}

/** Keys that sign lease tokens say what they are for. */
export const leaseKeyRules: KeyRules = { uses: ['sig'], assumed: [] }

/**
 * Usable keys of a set: `kty`, `crv` and `alg` agree with one accepted algorithm, `use` is as `rules` have it,
 * `key_ops` absent or with `verify`, `kid` present and not used twice, RSA of at least 2048 bits. A key that
 * does not fit is left out and the others stay. Undefined when this is no JWK set at all. Keys that
 * `before` already held are taken over from it, so that identity says whether a key is still the same.
 */
export async function readKeyRing(
  bytes: Uint8Array,
  issuer: string,
  before: KeyRing,
  rules: KeyRules = leaseKeyRules,
): Promise<KeyRing | undefined> {
  const json = parseStrictJson(bytes, { maxBytes: maxJwksBytes })
  if (!json.ok || !isObject(json.value) || !Array.isArray(json.value.keys)) return undefined
  const ring = new Map<string, Key>()
  const twice = new Set<string>()
  for (const member of json.value.keys) {
    const jwk = publicPart(member, rules)
    if (jwk === undefined) continue
    if (ring.has(jwk.kid)) twice.add(jwk.kid)
    const key = await importKey(jwk, issuer)
    const known = before.get(jwk.kid)
    if (key !== undefined) ring.set(jwk.kid, isSameKey(known, key) ? known : key)
  }
  // Which of two keys was meant cannot be told, so neither is used.
  for (const kid of twice) ring.delete(kid)
  return ring
}

function isSameKey(known: Key | undefined, key: Key): known is Key {
  return known?.thumbprint === key.thumbprint && known.alg === key.alg
}

/** The public signature key in a JWK, rebuilt from the members we know; undefined when it is none. */
function publicPart(jwk: unknown, rules: KeyRules): PublicJwk | undefined {
  if (!isObject(jwk)) return undefined
  const { kty, crv, x, y, n, e, kid, use, key_ops: operations } = jwk
  if (use !== undefined && !rules.uses.some((known) => known === use)) return undefined
  const alg = jwk.alg === undefined ? assumedAlgorithm(jwk, rules) : jwk.alg
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    return undefined
  if (!isPlainText(kid) || typeof alg !== 'string') return undefined
  const kind = algorithms.get(alg)
  if (kind === undefined || kind.kty !== kty || (kind.crv !== undefined && kind.crv !== crv)) return undefined
  const named = { kid, alg, use: 'sig' } as const
  if (kind.kty === 'RSA') {
    return typeof n === 'string' && typeof e === 'string' && n.length >= 342
      ? { kty: 'RSA', n, e, ...named }
      : undefined
  }
  if (typeof x !== 'string' || typeof crv !== 'string') return undefined
  if (kind.kty === 'OKP') return { kty: 'OKP', crv, x, ...named }
  return typeof y === 'string' ? { kty: 'EC', crv, x, y, ...named } : undefined
}

function assumedAlgorithm({ kty, crv }: Record<string, unknown>, { assumed }: KeyRules): string | undefined {
  const fitting = assumed.filter((name) => {
    const kind = algorithms.get(name)
    return kind?.kty === kty && (kind?.crv === undefined || kind.crv === crv)
  })
  return fitting.length === 1 ? fitting[0] : undefined
}

/** The imported key; undefined when the members do not make a key, e.g. a point off the curve. */
async function importKey(jwk: PublicJwk, issuer: string): Promise<Key | undefined> {
  try {
    const handle = await importPublicKey(jwk)
    return { issuer, kid: jwk.kid, alg: jwk.alg, thumbprint: await thumbprint(jwk), handle }
  } catch {
    return undefined
  }
}
