// A source of policy: signed OPA bundles at a URL or in a file, asked for again and again. In: the place, keys,
// where to keep the last good one. Out: readings. A place that does not answer changes nothing; what it answers
// is believed only under a good signature. Never logs a credential, nor the query of a URL.
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, fetchChanged } from '../lease/fetch.ts'
import { fileError } from './diagnostic.ts'
import { type BundleVerification, openSignedBundle } from './signed_bundle.ts'
import { type PolicySource, type Reading, unreadable } from './source.ts'

/** Bytes of a packed bundle at most; unpacked 128 MiB (regoc/bundle.go). */
const maxBundleBytes = 32 * 1024 * 1024
const fetchTimeoutMs = 30_000
const firstRetryMs = 1000

/** Where bundles come from, and which are believed. */
export interface BundleSettings {
  readonly place: { readonly url: string } | { readonly file: string }
  /** Between two looks at the place, give or take a tenth. */
  readonly pollMs: number
  readonly verification: BundleVerification
  /** A header for the URL. */
  readonly credential?: { readonly header: string; readonly value: string }
  /** The file that keeps the last bundle which came to decide. */
  readonly cache: string
}

export interface BundleOptions extends BundleSettings {
  /** `never`: the place is looked at only when policy is read, at the start and on SIGHUP. */
  readonly reload: 'on_change' | 'never'
  /** What went wrong beside the policy itself: no answer, or a cache that cannot be written. Must not throw. */
  readonly onFault: (fault: string) => void
}

export interface BundleStatus {
  /** When the place last was seen to have what decides; the start, as long as it was not. */
  readonly confirmedAtMs: number
  /** Why the last look failed; undefined when it did not. */
  readonly fault: string | undefined
  /** Of the bundle that came to decide last; '' when its manifest names none. */
  readonly revision: string
}

export interface BundleSource extends PolicySource {
  status(): BundleStatus
}

/**
 * Looks every `pollMs`; after a failure sooner, from 1 s doubling up to `pollMs`. A URL is asked with
 * `If-None-Match`; at most 32 MiB in at most 30 s, no redirects. A bundle that was refused is not tried again
 * until the place has another.
 */
export function bundleSource(options: BundleOptions): BundleSource {
  return new Bundles(options)
}

/** How messages call a place: without user, query and fragment, which may hold secrets. */
function placeName(place: BundleSettings['place']): string {
  if ('file' in place) return place.file
  const { origin, pathname } = new URL(place.url)
  return origin + pathname
}

/** What lay at the place when it was last asked. */
interface Content {
  readonly bytes: Uint8Array
  readonly version: string
  readonly etag: string | undefined
}

const nothing = 'nothing'

class Bundles implements BundleSource {
  readonly #options: BundleOptions
  readonly #name: string
  #content: Content | undefined
  /** The version that `read` gave last. */
  #given: string | undefined
  /** The version that came to decide last. */
  #live: string | undefined
  /** `changed` has just looked, so `read` need not. */
  #looked = false
  #failures = 0
  #status: BundleStatus = { confirmedAtMs: Date.now(), fault: undefined, revision: '' }

  constructor(options: BundleOptions) {
    this.#options = options
    this.#name = placeName(options.place)
  }

  status(): BundleStatus {
    return this.#status
  }

  async changed(signal: AbortSignal): Promise<void> {
    const { reload } = this.#options
    for (;;) {
      await sleep(reload === 'never' ? 2 ** 31 - 1 : this.#delayMs(), undefined, { ref: false, signal })
      if (reload === 'never' || !(await this.#look(signal))) continue
      if (this.#content?.version === this.#given) continue
      this.#looked = true
      return
    }
  }

  async read(signal: AbortSignal): Promise<Reading> {
    const found = this.#looked || (await this.#look(signal))
    this.#looked = false
    if (!found || this.#content === undefined) {
      this.#given = nothing
      const message = `${this.#name}: ${this.#status.fault ?? nothing}`
      return unreadable(nothing, fileError('', 'bundle_unavailable', message))
    }
    this.#given = this.#content.version
    return this.#open(this.#name, this.#content, signal)
  }

  async kept(signal: AbortSignal): Promise<Reading | undefined> {
    const { cache } = this.#options
    const answer = await readBundleFile(cache)
    return answer.type === 'fresh' ? this.#open(cache, contentOf(answer), signal) : undefined
  }

  /** Whether the place gave its content or confirmed the one we have. Rejects when aborted. */
  async #look(signal: AbortSignal): Promise<boolean> {
    const answer = await this.#ask(signal)
    signal.throwIfAborted()
    if (answer.type === 'failed') {
      this.#failures++
      this.#status = { ...this.#status, fault: answer.reason }
      this.#options.onFault(`${this.#name}: ${answer.reason}`)
      return false
    }
    if (answer.type === 'fresh') {
      this.#content = contentOf(answer)
    }
    this.#failures = 0
    this.#status = { ...this.#status, fault: undefined }
    this.#confirm()
    return true
  }

  #ask(signal: AbortSignal): Promise<Answer> {
    const { place, credential } = this.#options
    if ('file' in place) return readBundleFile(place.file)
    return fetchChanged(place.url, {
      accept: 'application/gzip, application/octet-stream, */*;q=0.1',
      maxBytes: maxBundleBytes,
      timeoutMs: fetchTimeoutMs,
      etag: this.#content?.etag,
      signal,
      ...(credential === undefined ? {} : { headers: { [credential.header]: credential.value } }),
    })
  }

  async #open(name: string, { bytes, version }: Content, signal: AbortSignal): Promise<Reading> {
    try {
      const opened = await openSignedBundle(name, bytes, this.#options.verification, signal)
      const accepted = (): Promise<void> => {
        this.#live = version
        this.#status = { ...this.#status, revision: opened.revision }
        this.#confirm()
        return this.#keep(bytes)
      }
      return { version, sources: () => opened.sources, accepted }
    } catch (thrown) {
      signal.throwIfAborted()
      return unreadable(version, thrown instanceof Error ? thrown : new Error('unknown failure'))
    }
  }

  #confirm(): void {
    if (this.#content === undefined || this.#content.version !== this.#live) return
    this.#status = { ...this.#status, confirmedAtMs: Date.now() }
  }

  /** Writes beside the cache, then renames: whoever reads it finds a whole bundle, of before or of now. */
  async #keep(bytes: Uint8Array): Promise<void> {
    const { cache, onFault } = this.#options
    const draft = `${cache}.${randomBytes(6).toString('hex')}.tmp`
    try {
      await mkdir(dirname(cache), { recursive: true, mode: 0o700 })
      const handle = await open(draft, 'wx', 0o600)
      try {
        await handle.writeFile(bytes)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(draft, cache)
    } catch (thrown) {
      await unlink(draft).catch(() => undefined)
      onFault(`${cache}: the bundle cannot be kept (${codeOf(thrown)})`)
    }
  }

  #delayMs(): number {
    const { pollMs } = this.#options
    const ms = this.#failures === 0 ? pollMs : Math.min(firstRetryMs * 2 ** (this.#failures - 1), pollMs)
    // Gates that were started together would else ask together for ever.
    return ms * (0.9 + Math.random() * 0.2)
  }
}

/** A bundle on disk. Never rejects. */
async function readBundleFile(file: string): Promise<Answer> {
  try {
    const entry = await stat(file)
    // Reading a pipe would wait for its writer.
    if (!entry.isFile()) return { type: 'failed', reason: 'it is no file' }
    if (entry.size > maxBundleBytes)
      return { type: 'failed', reason: `it has more than ${maxBundleBytes} bytes` }
    return { type: 'fresh', bytes: await readFile(file), etag: undefined }
  } catch (thrown) {
    return { type: 'failed', reason: `it cannot be read (${codeOf(thrown)})` }
  }
}

function contentOf({ bytes, etag }: Answer & { type: 'fresh' }): Content {
  return { bytes, version: createHash('sha256').update(bytes).digest('hex'), etag }
}

function codeOf(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
  return typeof code === 'string' ? code : 'unknown failure'
}
