// Nonces for DPoP proofs (RFC 9449 §8, §9) that need no store: a MAC over the current minute. Whoever shares
// the secret, another worker or machine, knows them too. Pure: the time is passed in.
import { createHmac, timingSafeEqual } from 'node:crypto'

/** How long one nonce is the newest, seconds; it is taken for as long again. */
export const nonceSeconds = 60
/** A machine whose clock is ahead by less has handed out a nonce that is good here already, seconds. */
const skewSeconds = 5

export interface Nonces {
  /** The newest nonce. */
  current(now: number): string
  /** Whether a proof with `nonce` is taken; `stale`: it is, and the client should go on with a newer one. */
  check(nonce: string, now: number): 'current' | 'stale' | 'unknown'
}

/** Nonces of one secret (shared_nonces.ts): any two of them are independent. */
export function createNonces(secret: Uint8Array): Nonces {
  const made = new Map<number, string>()

  function nonceOf(bucket: number): string {
    let nonce = made.get(bucket)
    if (nonce === undefined) {
      nonce = createHmac('sha256', secret).update(`dpop-nonce ${bucket}`).digest('base64url')
      if (made.size >= 8) made.clear()
      made.set(bucket, nonce)
    }
    return nonce
  }

  return {
    current: (now) => nonceOf(bucketOf(now)),
    check(nonce, now) {
      if (isSame(nonce, nonceOf(bucketOf(now))) || isSame(nonce, nonceOf(bucketOf(now + skewSeconds)))) {
        return 'current'
      }
      return isSame(nonce, nonceOf(bucketOf(now) - 1)) ? 'stale' : 'unknown'
    },
  }
}

function bucketOf(now: number): number {
  return Math.floor(now / nonceSeconds)
}

/** In constant time: how much of a guess was right must not show. */
function isSame(given: string, nonce: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(nonce)]
  return a.length === b.length && timingSafeEqual(a, b)
}
