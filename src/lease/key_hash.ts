// In: the keys under which a revocation could hit a lease. Out: the same keys, each with its hash beside it, so
// that looking for them among a million revocations reads nothing of what is not there. Pure; a hash only ever
// saves a look and never decides one.

/** Texts to look up, and `hashOf` each, in the same order; without them they are computed at each look-up. */
export interface LookUpKeys extends ReadonlyArray<string> {
  readonly hashes?: readonly number[]
}

/** The keys with their hashes, to be kept as long as the lease. */
export function withHashes(keys: readonly string[]): LookUpKeys {
  return Object.assign([...keys], { hashes: keys.map(hashOf) })
}

/** 32 bits of a text, all of them well mixed: FNV-1a over its UTF-16 units, and the end of MurmurHash3. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
