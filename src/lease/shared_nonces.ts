// The nonces of all who share a store. In: its secrets. Out: nonces that follow the secret there: a store that has
// lost it (and the used ids with it) makes another, and whoever went on with the old one would send clients from
// gate to gate for ever, and take proofs whose use nobody remembers.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Secrets, Unavailable } from '../ports.ts'
import { createNonces, type Nonces } from './nonces.ts'

const secretName = 'dpop-nonce'

export interface SharedNonces extends Nonces {
  /** Stops following. */
  close(): void
}

/** Looks at the secret every `everyMs` milliseconds; a store that cannot answer changes nothing. */
export async function openNonces(secrets: Secrets, everyMs = 1000): Promise<SharedNonces> {
  let secret = await secrets.shared(secretName)
  let nonces = createNonces(secret)
  const closing = new AbortController()
  const look = async () => {
    const found = await secrets.shared(secretName)
    if (Buffer.compare(found, secret) === 0) return
    secret = found
    nonces = createNonces(secret)
  }
  const follow = async () => {
    for (;;) {
      await sleep(everyMs, undefined, { ref: false, signal: closing.signal })
      await look().catch(unlessUnavailable)
    }
  }
  follow().catch((error: unknown) => {
    if (!closing.signal.aborted) throw error
  })
  return {
    current: (now) => nonces.current(now),
    check: (nonce, now) => nonces.check(nonce, now),
    close: () => closing.abort(),
  }
}

function unlessUnavailable(error: unknown): void {
  if (!(error instanceof Unavailable)) throw error
}
