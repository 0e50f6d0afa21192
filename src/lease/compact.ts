// In: the text of a token, from anybody. Out: its header and its claims, each with exactly one reading, or
// the refusal. Checks form only, in the order written here; trusts nothing, looks no key up, fetches nothing.
// Never: JWE, unsigned tokens, header members that steer verification (jku, x5u, jwk, x5c, crit, b64, zip).
import { isRefusal, type Refusal } from '../refusals.ts'
import { parseStrictJson } from '../strict_json.ts'
import { fault } from './faults.ts'
import { isObject } from './text.ts'

/** Characters of a token at most; a compact JWS is ASCII, so also bytes. */
export const maxTokenLength = 8192

/** A token whose form is right and whose signature has not been checked: nothing in it is believed yet. */
export interface UnprovenToken {
  readonly text: string
  readonly typ: string | undefined
  readonly alg: string
  readonly kid: string
  readonly claims: Record<string, unknown>
}

/** `typ` of access tokens (RFC 9068 §2.1), in the one spelling that we accept. */
export const accessTokenTypes: ReadonlySet<string> = new Set(['at+jwt', 'application/at+jwt'])

// An allow list: `x5t` and `x5t#S256` are fingerprints that some issuers add, and they are not read.
const headerMembers: ReadonlySet<string> = new Set(['typ', 'alg', 'kid', 'x5t', 'x5t#S256'])

const plainKid = /^[\w.~:@=+/-]{1,200}$/

/**
 * Reads a compact JWS (RFC 7515 §7.1): at most `maxLength` characters, three parts, each canonical
 * base64url, strict JSON objects, only known header members, `typ` one of `types` (`undefined` among them: it
 * may be left out), `alg` and `kid` plain.
 */
export function readCompact(
  text: string,
  types: ReadonlySet<string | undefined>,
  maxLength: number,
): UnprovenToken | Refusal {
  if (text.length > maxLength) return fault('token_too_large')
  const parts = text.split('.')
  const [head, body, signature] = parts
  if (parts.length !== 3 || head === undefined || body === undefined || signature === undefined) {
    return fault('not_compact_jws')
  }
  if (signature === '') return fault('signature_missing')
  const header = readPart(head)
  if (isRefusal(header)) return header
  const claims = readPart(body)
  if (isRefusal(claims)) return claims
  if (decodeCanonical(signature) === undefined) return fault('base64url_not_canonical')
  const { typ, alg, kid } = header
  if (Object.keys(header).some((name) => !headerMembers.has(name))) return fault('header_member_not_allowed')
  if (typ !== undefined && typeof typ !== 'string') return fault('typ_not_allowed')
  if (!types.has(typ)) return fault('typ_not_allowed')
  if (typeof alg !== 'string') return fault('alg_not_allowed')
  if (typeof kid !== 'string' || !plainKid.test(kid)) return fault('kid_not_plain')
  return { text, typ, alg, kid, claims }
}

function readPart(part: string): Record<string, unknown> | Refusal {
  const bytes = decodeCanonical(part)
  if (bytes === undefined) return fault('base64url_not_canonical')
  const json = parseStrictJson(bytes, { maxBytes: bytes.byteLength })
  return json.ok && isObject(json.value) ? json.value : fault('json_not_strict')
}

/** Bytes of canonical base64url (RFC 4648 §5: no padding, no junk, unused bits zero), or undefined. */
export function decodeCanonical(part: string): Buffer | undefined {
  // Node's decoder skips junk and ignores unused bits, so only the way back tells.
  const bytes = Buffer.from(part, 'base64url')
  return bytes.toString('base64url') === part ? bytes : undefined
}
