// In: a token whose form is right, and the profile of the issuer it has to come from. Out: the key that
// signed it, or the refusal. The profile fixes the algorithms, the key fixes one of them; the token only
// names a key of this issuer, and if it names none, nothing more than one rate-limited refresh happens.
import { isRefusal, type Refusal } from '../refusals.ts'
import type { UnprovenToken } from './compact.ts'
import { fault } from './faults.ts'
import { algorithms, signatureIsValid } from './jose.ts'
import type { Key, Keys } from './keys.ts'
import type { IssuerProfile } from './profile.ts'

/** The key that a token names: known for this issuer and this algorithm (RFC 8725 §3.1, §3.8, §3.10). */
export async function keyOf(
  token: UnprovenToken,
  profile: IssuerProfile,
  keys: Keys,
): Promise<Key | Refusal> {
  // Also against the fixed list: a profile that allows HS256 or `none` by mistake still cannot.
  if (!profile.algorithms.includes(token.alg) || !algorithms.has(token.alg)) return fault('alg_not_allowed')
  const find = () => keys.find(profile.issuer, token.kid, token.alg)
  const key = find()
  if (key !== undefined) return key
  await keys.refresh(profile.issuer)
  return find() ?? fault(keys.known(profile.issuer) ? 'key_unknown' : 'keys_unavailable')
}

/** Proves that the issuer signed the token. Only after this may its claims be read as facts. */
export async function proveSignature(
  token: UnprovenToken,
  profile: IssuerProfile,
  keys: Keys,
): Promise<Key | Refusal> {
  const key = await keyOf(token, profile, keys)
  if (isRefusal(key)) return key
  return (await signatureIsValid(token.text, key.handle, key.alg)) ? key : fault('signature_invalid')
}
