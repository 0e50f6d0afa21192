// In: the broker's key file, whoever changes it. Out: the key that signs now and the keys to publish, at any
// time and without I/O. Makes a new key when the newest is old. Never signs with a key before it has been
// published for a while, never withdraws one while tokens that it signed are good.
import { generatePrivateJwk, type PublicJwk } from './jose.ts'
import { changeKeyFile, KeyFileError, markOf, openKeyFile, readKeyFile } from './key_file.ts'
import {
  type KeySet,
  publishedAheadSeconds,
  publishedOf,
  type Rotation,
  rotated,
  signerOf,
} from './key_set.ts'
import { importLocalKey, type LocalKey } from './local_key.ts'

/** The keys of a broker that runs. */
export interface SigningKeys {
  /** The key that signs now. */
  signer(): LocalKey
  /** Every key that a token which is still good may be signed with, and the next one. */
  public(): readonly PublicJwk[]
  /** Stops following the file. */
  close(): void
}

/** That the keys are others now, or cannot be read or renewed; those before stay. */
export type KeyEvent =
  | { readonly type: 'changed'; readonly signer: string; readonly published: number }
  | { readonly type: 'fault'; readonly fault: string }

export interface SigningKeyOptions {
  /** Age of the newest key, milliseconds, at which another is made. Absent: this process makes none. */
  readonly rotateMs?: number
  /** How long a new key is published before it signs. Default: `publishedAheadSeconds`. */
  readonly overlapSeconds?: number
  /** Seconds since 1970. */
  readonly now?: () => number
  readonly onEvent?: (event: KeyEvent) => void
}

/** How often the file is looked at: whoever reads it knows a change within a second. */
const pollMs = 400
/** After a rotation that failed, e.g. in a directory that may only be read, seconds. */
const retrySeconds = 600
/** A key from further ahead was made on a clock that was wrong; it would never be old. Seconds. */
const clockErrorSeconds = 86_400

/**
 * What processes on this machine need to notice a key before it signs, seconds; the shortest time that
 * `leasegate keys rotate --now` leaves them.
 */
export const noticeSeconds = 3

/** Opens the file, or makes it with a first key. Throws `KeyFileError` when it cannot be used. */
export async function openSigningKeys(file: string, options: SigningKeyOptions = {}): Promise<SigningKeys> {
  const followed = new FollowedKeys(file, options)
  await followed.open()
  return followed
}

/** Puts a new key into the file, unless one waits to sign already that is to sign no later: then undefined. */
export async function rotateKeys(file: string, rotation: Rotation, now: number): Promise<KeySet | undefined> {
  const isAhead = (keys: KeySet) => {
    const { signs_from } = keys.at(-1)!
    return rotation.withdraw === undefined && signs_from > now && signs_from <= now + rotation.aheadSeconds
  }
  return change(file, rotation, now, isAhead)
}

/** Rotates unless what is in the file by now `isDone`. */
async function change(
  file: string,
  rotation: Rotation,
  now: number,
  isDone: (keys: KeySet) => boolean,
): Promise<KeySet | undefined> {
  let done = false
  const { keys } = await changeKeyFile(file, async (before) => {
    done = isDone(before)
    return done ? undefined : rotated(before, await generatePrivateJwk(), rotation, now)
  })
  return done ? undefined : keys
}

class FollowedKeys implements SigningKeys {
  readonly #file: string
  readonly #options: SigningKeyOptions
  readonly #now: () => number
  #keys: KeySet | undefined
  #imported: ReadonlyMap<string, LocalKey> = new Map()
  #mark = ''
  #fault: string | undefined
  #retryAt = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(file: string, options: SigningKeyOptions) {
    this.#file = file
    this.#options = options
    this.#now = options.now ?? (() => Date.now() / 1000)
  }

  async open(): Promise<void> {
    const { keys, mark } = await openKeyFile(this.#file, this.#now())
    await this.#take(keys, mark)
    this.#schedule()
  }

  signer(): LocalKey {
    return this.#imported.get(signerOf(this.#known(), this.#now()).kid)!
  }

  public(): readonly PublicJwk[] {
    return publishedOf(this.#known(), this.#now()).map(({ kid }) => this.#imported.get(kid)!.publicJwk)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #known(): KeySet {
    if (this.#keys === undefined) throw new Error('the keys are not open')
    return this.#keys
  }

  /** The timer keeps no process alive. */
  #schedule(): void {
    if (!this.#closed) this.#timer = setTimeout(() => void this.#follow(), pollMs).unref()
  }

  /** Keys that were good stay when the file cannot be read: an accident must not end every lease. */
  async #follow(): Promise<void> {
    try {
      await this.#reread()
      await this.#rotateWhenOld()
      this.#fault = undefined
    } catch (error) {
      this.#report(error instanceof KeyFileError ? error.message : `${this.#file}: cannot be followed`)
    }
    this.#schedule()
  }

  async #reread(): Promise<void> {
    if ((await markOf(this.#file)) === this.#mark) return
    const read = await readKeyFile(this.#file)
    if (read === undefined) throw new KeyFileError(`${this.#file}: is gone; the keys before sign on`)
    await this.#take(read.keys, read.mark)
    const published = this.public().length
    this.#options.onEvent?.({ type: 'changed', signer: this.signer().kid, published })
  }

  async #rotateWhenOld(): Promise<void> {
    const { rotateMs, overlapSeconds: aheadSeconds = publishedAheadSeconds } = this.#options
    if (rotateMs === undefined) return
    const now = this.#now()
    const isYoung = (keys: KeySet) => {
      const age = now - keys.at(-1)!.created
      return age < rotateMs / 1000 && age > -clockErrorSeconds
    }
    if (isYoung(this.#known()) || now < this.#retryAt) return
    this.#retryAt = now + retrySeconds
    await change(this.#file, { aheadSeconds }, now, isYoung)
    this.#retryAt = 0
    await this.#reread()
  }

  async #take(keys: KeySet, mark: string): Promise<void> {
    const before = this.#imported
    const imported = await Promise.all(
      keys.map(async (key) => before.get(key.kid) ?? (await importLocalKey(key, this.#file))),
    )
    this.#imported = new Map(imported.map((key) => [key.kid, key]))
    this.#keys = keys
    this.#mark = mark
  }

  /** Once for as long as it is the same. */
  #report(fault: string): void {
    if (fault === this.#fault) return
    this.#fault = fault
    this.#options.onEvent?.({ type: 'fault', fault })
  }
}
