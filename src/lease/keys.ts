// In: where each issuer publishes its keys. Out: the key for (issuer, kid, alg), from memory at any time.
// Fetches only what the configuration names, never what a token says; a token can cause one fetch per
// issuer in 30 s, no more. Keys that could not be confirmed for `maxAgeSeconds` are not used any longer.
import { readFile } from 'node:fs/promises'
import { type Fetch, fetchBounded } from './fetch.ts'
import type { PublicJwk } from './jose.ts'
import { type Key, type KeyRing, type KeyRules, leaseKeyRules, maxJwksBytes, readKeyRing } from './jwks.ts'

export type { Key }

/** Where the keys of one issuer come from. */
export interface KeySource {
  readonly issuer: string
  readonly jwks:
    | { readonly url: string }
    | { readonly file: string }
    | { readonly local: true }
    /** Finds the set anew each time it is asked; as often as a URL is. */
    | { readonly load: LoadKeys }
  /** Which keys of the set are taken. Default: those that lease tokens are signed with. */
  readonly rules?: KeyRules
}

/** Gives the bytes of a JWK set, or undefined when it cannot be read. Never rejects. */
export type LoadKeys = (fetch: Fetch) => Promise<Uint8Array | undefined>

export interface KeyOptions {
  /** Keys that the local broker publishes now, for `{ local: true }`. */
  readonly local?: () => readonly PublicJwk[]
  /** How long keys are good after the issuer last confirmed them. Default 600. */
  readonly maxAgeSeconds?: number
  /** Between two fetches that unknown `kid`s cause, per issuer. Default 30. */
  readonly demandSeconds?: number
  readonly fetch?: Fetch
  /** Clock, milliseconds since 1970. */
  readonly now?: () => number
}

/** What is known about the keys of one issuer, for `/readyz`. */
export interface KeyStatus {
  readonly issuer: string
  /** Usable keys now; 0: every token of the issuer is refused. */
  readonly keys: number
  /** Seconds since 1970 of the last confirmation; undefined: never. */
  readonly confirmedAt: number | undefined
}

export interface Keys {
  /** Synchronous, no I/O. Undefined: no such key, another algorithm, or keys too old to be used. */
  find(issuer: string, kid: string, alg: string): Key | undefined
  /** Whether the issuer's keys are known and fresh, so that a missing one really does not exist. */
  known(issuer: string): boolean
  /** Looks for new keys because a token named an unknown one; rate-limited, never rejects. */
  refresh(issuer: string): Promise<void>
  status(): KeyStatus[]
  /** Stops the background refreshes. */
  close(): void
}

/**
 * Opens every source and resolves once each has been tried once. An issuer that is down does not keep the
 * gate from starting: its tokens get 503 until its keys come. A URL is read again at half of `maxAgeSeconds`
 * and, while it fails, after 1 to 30 s; a file is looked at every second, the local broker four times as often.
 */
export async function openKeys(sources: readonly KeySource[], options: KeyOptions = {}): Promise<Keys> {
  const rings = new Map(sources.map((source) => [source.issuer, new WatchedRing(source, options)]))
  await Promise.all([...rings.values()].map((ring) => ring.poll()))
  return {
    find(issuer, kid, alg) {
      const key = rings.get(issuer)?.current().get(kid)
      return key?.alg === alg ? key : undefined
    },
    known: (issuer) => rings.get(issuer)?.isFresh() ?? false,
    refresh: async (issuer) => rings.get(issuer)?.demand(),
    status: () => [...rings.values()].map((ring) => ring.status()),
    close() {
      for (const ring of rings.values()) ring.close()
    },
  }
}

const empty: KeyRing = new Map()

/** Between two looks at the local broker's keys: a new one is known well before it signs. */
const localMs = 250

/** The keys of one issuer and the timer that keeps them fresh. */
class WatchedRing {
  readonly #issuer: string
  readonly #load: () => Promise<Uint8Array | undefined>
  readonly #rules: KeyRules
  readonly #everyMs: number
  readonly #maxAgeMs: number
  readonly #demandMs: number
  readonly #now: () => number
  #ring: KeyRing = empty
  /** The text of `#ring`, so that an unchanged one is not imported again. */
  #bytes: Uint8Array | undefined
  #confirmedAt: number | undefined
  #demandedAt = Number.NEGATIVE_INFINITY
  #failures = 0
  #loading: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor({ issuer, jwks, rules }: KeySource, options: KeyOptions) {
    this.#issuer = issuer
    this.#rules = rules ?? leaseKeyRules
    this.#maxAgeMs = (options.maxAgeSeconds ?? 600) * 1000
    this.#demandMs = (options.demandSeconds ?? 30) * 1000
    this.#now = options.now ?? Date.now
    this.#everyMs = 'url' in jwks ? this.#maxAgeMs / 2 : 'file' in jwks ? 1000 : localMs
    this.#load = loader(jwks, options)
  }

  isFresh(): boolean {
    return this.#confirmedAt !== undefined && this.#now() - this.#confirmedAt < this.#maxAgeMs
  }

  current(): KeyRing {
    return this.isFresh() ? this.#ring : empty
  }

  status(): KeyStatus {
    const confirmedAt = this.#confirmedAt === undefined ? undefined : this.#confirmedAt / 1000
    return { issuer: this.#issuer, keys: this.current().size, confirmedAt }
  }

  /** The attempt counts, not its success: an issuer that is down is not asked more often than one that is up. */
  async demand(): Promise<void> {
    if (this.#loading === undefined && this.#now() - this.#demandedAt >= this.#demandMs) {
      this.#demandedAt = this.#now()
      await this.#refresh()
    } else {
      await this.#loading
    }
  }

  /** Loads now and again after a while, for as long as the ring is open. The timer keeps no process alive. */
  async poll(): Promise<void> {
    await this.#refresh()
    if (this.#closed) return
    const retryMs = Math.min(1000 * 2 ** (this.#failures - 1), 30_000)
    const delayMs = this.#failures === 0 ? this.#everyMs : Math.min(retryMs, this.#everyMs)
    this.#timer = setTimeout(() => void this.poll(), delayMs).unref()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** Calls at the same time share one load. */
  #refresh(): Promise<void> {
    this.#loading ??= this.#loadOnce().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #loadOnce(): Promise<void> {
    // The keys are as old as the question, not as the answer.
    const askedAt = this.#now()
    const bytes = await this.#load()
    const ring = bytes && (await this.#read(bytes))
    if (ring === undefined) {
      this.#failures++
      return
    }
    this.#ring = ring
    this.#bytes = bytes
    this.#confirmedAt = askedAt
    this.#failures = 0
  }

  async #read(bytes: Uint8Array): Promise<KeyRing | undefined> {
    if (this.#bytes !== undefined && Buffer.compare(bytes, this.#bytes) === 0) return this.#ring
    return readKeyRing(bytes, this.#issuer, this.#ring, this.#rules)
  }
}

function loader(jwks: KeySource['jwks'], options: KeyOptions): () => Promise<Uint8Array | undefined> {
  if ('local' in jwks) return async () => localSet(options.local)
  if ('file' in jwks) return () => readSet(jwks.file)
  const fetch = options.fetch ?? fetchBounded
  return 'url' in jwks ? () => fetchSet(jwks.url, fetch) : () => jwks.load(fetch)
}

/** The bytes at the URL of a JWK set; undefined when they cannot be had. */
export function fetchSet(url: string, fetch: Fetch): Promise<Uint8Array | undefined> {
  const accept = 'application/jwk-set+json, application/json'
  return fetch(url, { accept, maxBytes: maxJwksBytes, timeoutMs: 2000 })
}

function localSet(published: KeyOptions['local']): Uint8Array | undefined {
  return published && new TextEncoder().encode(JSON.stringify({ keys: published() }))
}

async function readSet(file: string): Promise<Uint8Array | undefined> {
  try {
    const bytes = await readFile(file)
    return bytes.byteLength <= maxJwksBytes ? bytes : undefined
  } catch {
    return undefined
  }
}
