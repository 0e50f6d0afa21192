// Passkeys of people, and what they show. In: a person, what a browser answered. Out: options for the browser, the list
// of passkeys, whether a passkey has signed this very action. A challenge is sealed for one person and one thing, good
// for two minutes and once, so that nothing has to be kept for it.
import { createHash, randomBytes } from 'node:crypto'
import type { Person } from '../../approval/action.ts'
import type { Sealer } from '../../approval/seal.ts'
import { isObject } from '../../lease/text.ts'
import type { Records, Replay, StoredRecord } from '../../ports.ts'
import { type Refusal, refuse } from '../../refusals.ts'
import { parseObject } from './kept.ts'
import type { Place } from './place.ts'
import {
  assertionOptions,
  type Credential,
  type KnowsChallenge,
  readAssertion,
  readRegistration,
  registrationOptions,
} from './webauthn.ts'

export interface PasskeyParts {
  readonly records: Records
  readonly replay: Replay
  readonly sealer: () => Promise<Sealer>
  readonly place: Place
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** What an approval is of: nothing else can be confirmed in its place. */
export interface Confirmed {
  readonly id: string
  readonly fingerprint: string
}

interface KeptPasskey extends Credential {
  /** Digest of the person. */
  readonly owner: string
  readonly createdAt: number
  /** 0: never. */
  readonly usedAt: number
}

/** Seconds for a touch. */
const challengeSeconds = 120
const maxPasskeys = 10
/** A passkey stays until it is removed; no authenticator outlives this, in seconds. */
const keptSeconds = 10 * 365 * 86_400

export class Passkeys {
  readonly #parts: PasskeyParts

  constructor(parts: PasskeyParts) {
    this.#parts = parts
  }

  /** Whether somebody has one. Throws `Unavailable`, as all of these do. */
  async has(person: Person): Promise<boolean> {
    return (await this.#of(person)).length > 0
  }

  /** Newest first; `id` is what `remove` takes. */
  async list(person: Person): Promise<{ id: string; createdAt: number; usedAt: number }[]> {
    return (await this.#of(person)).map(({ record: { id }, passkey: { createdAt, usedAt } }) => ({
      id,
      createdAt,
      usedAt,
    }))
  }

  /** What a browser makes a passkey from. */
  async registration(person: Person) {
    const known = (await this.#of(person)).map(({ passkey }) => passkey)
    const challenge = await this.#challenge(registrationOf(person))
    const handle = Buffer.from(ownerOf(person), 'base64url')
    return registrationOptions(this.#parts.place, { challenge, handle, user: person.user, known })
  }

  /** Keeps what the browser made. Refuses with `confirmation_required` an answer to no challenge of this person. */
  async register(person: Person, answer: unknown): Promise<{ id: string } | Refusal> {
    const challenge = await this.#known(registrationOf(person))
    const made = await readRegistration(this.#parts.place, answer, challenge.knows)
    if (made === undefined || !(await this.#use(challenge))) return notConfirmed()
    if ((await this.#of(person)).length >= maxPasskeys) {
      return refuse('malformed_request', {
        detail: `remove one first: nobody has more than ${maxPasskeys} passkeys`,
      })
    }
    const id = recordId(made.id)
    const now = this.#now()
    const kept = { ...made, owner: ownerOf(person), createdAt: now, usedAt: 0 }
    const isNew = await this.#parts.records.write([writeOf(id, kept, 0)])
    return isNew ? { id } : refuse('malformed_request', { detail: 'this passkey is known already' })
  }

  /** Whether there was such a passkey of theirs. */
  async remove(person: Person, id: string): Promise<boolean> {
    for (;;) {
      const record = await this.#parts.records.get('passkey', id)
      const passkey = record && read(record)
      if (record === undefined || passkey?.owner !== ownerOf(person)) return false
      const { version: expect } = record
      const now = this.#now()
      const removal = { kind: 'passkey', id, expect, text: undefined, expiresAt: now, at: now } as const
      if (await this.#parts.records.write([removal])) return true
    }
  }

  /**
   * What a browser has a passkey of this person sign, to approve exactly this. Refuses with `confirmation_required`
   * somebody who has none.
   */
  async challenge(person: Person, what: Confirmed) {
    const known = (await this.#of(person)).map(({ passkey }) => passkey)
    if (known.length === 0)
      return refuse('confirmation_required', { detail: 'you have no passkey: add one first' })
    const challenge = await this.#challenge(approvalOf(person, what))
    return assertionOptions(this.#parts.place, { challenge, known })
  }

  /**
   * Undefined where a passkey of this person has signed exactly this, now and for the first time; otherwise
   * `confirmation_required`.
   */
  async confirm(person: Person, what: Confirmed, answer: unknown): Promise<Refusal | undefined> {
    const given = isObject(answer) && typeof answer.id === 'string' ? answer.id : ''
    const record = await this.#parts.records.get('passkey', recordId(given))
    const passkey = record && read(record)
    if (record === undefined || passkey?.owner !== ownerOf(person)) return notConfirmed()
    const challenge = await this.#known(approvalOf(person, what))
    const counter = await readAssertion(this.#parts.place, answer, passkey, challenge.knows)
    if (counter === undefined || !(await this.#use(challenge))) return notConfirmed()
    // Of two answers of one authenticator at once, one counts: the other may come from a copy of it.
    const kept = { ...passkey, counter, usedAt: this.#now() }
    const counted = await this.#parts.records.write([writeOf(record.id, kept, record.version)])
    return counted ? undefined : notConfirmed()
  }

  async #of(person: Person): Promise<{ record: StoredRecord; passkey: KeptPasskey }[]> {
    const options = { limit: maxPasskeys + 1 }
    const records = await this.#parts.records.list('passkey', `owner:${ownerOf(person)}`, options)
    return records.flatMap((record) => {
      const passkey = read(record)
      return passkey === undefined ? [] : [{ record, passkey }]
    })
  }

  /** Opens again under the same name alone. */
  async #challenge(name: string): Promise<Buffer> {
    const id = randomBytes(16).toString('base64url')
    const until = Math.floor(this.#now()) + challengeSeconds
    const sealer = await this.#parts.sealer()
    return Buffer.from(sealer.seal(name, Buffer.from(JSON.stringify({ id, until }))), 'base64url')
  }

  /** Recognises challenges that were made under a name and are not over; remembers which it was. */
  async #known(name: string): Promise<KnownChallenge> {
    const sealer = await this.#parts.sealer()
    const known: KnownChallenge = {
      used: undefined,
      knows: (text) => {
        const bytes = sealer.open(name, text)
        if (bytes === undefined) return false
        const used: NonNullable<KnownChallenge['used']> = JSON.parse(Buffer.from(bytes).toString())
        known.used = used
        return this.#now() < used.until
      },
    }
    return known
  }

  async #use({ used }: KnownChallenge): Promise<boolean> {
    return used !== undefined && this.#parts.replay.use(`challenge:${used.id}`, used.until, this.#now())
  }

  #now(): number {
    return this.#parts.clock() / 1000
  }
}

interface KnownChallenge {
  used: { readonly id: string; readonly until: number } | undefined
  readonly knows: KnowsChallenge
}

function registrationOf({ issuer, subject }: Person): string {
  return JSON.stringify(['register a passkey', issuer, subject])
}

function approvalOf({ issuer, subject }: Person, { id, fingerprint }: Confirmed): string {
  return JSON.stringify(['approve', id, fingerprint, issuer, subject])
}

function ownerOf({ issuer, subject }: Person): string {
  return createHash('sha256')
    .update(JSON.stringify([issuer, subject]))
    .digest('base64url')
}

/** Authenticators choose names of up to 1023 bytes. */
function recordId(credential: string): string {
  return createHash('sha256').update(credential).digest('base64url')
}

function writeOf(id: string, passkey: KeptPasskey, expect: number) {
  const { createdAt, owner } = passkey
  const text = JSON.stringify(passkey)
  const lists = [`owner:${owner}`]
  return {
    kind: 'passkey',
    id,
    expect,
    text,
    expiresAt: createdAt + keptSeconds,
    lists,
    at: createdAt,
  } as const
}

/** Undefined for what nobody here has written. */
function read({ text }: StoredRecord): KeptPasskey | undefined {
  const kept = parseObject(text)
  const { id, publicKey, owner, counter, transports, createdAt, usedAt } = kept ?? {}
  const isNamed = [id, publicKey, owner].every((each) => typeof each === 'string')
  const isCounted = [counter, createdAt, usedAt].every((each) => typeof each === 'number')
  return isNamed && isCounted && Array.isArray(transports)
    ? (kept as Record<string, unknown> & KeptPasskey)
    : undefined
}

/** The same for every reason: whoever tries answers learns nothing about passkeys. */
function notConfirmed(): Refusal {
  return refuse('confirmation_required', { detail: 'no passkey of yours has signed this: try again' })
}
