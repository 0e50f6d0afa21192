// People who are signed in. In: who somebody has proven to be; a cookie. Out: the caller that they are right now. A
// session is a record under the digest of 32 random bytes that the cookie alone holds, so that whoever reads the store
// is nobody. Every request reads it again: who signs out is out everywhere.
import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Person } from '../../approval/action.ts'
import type { Config } from '../../config.ts'
import { isObject } from '../../lease/text.ts'
import { type Records, type RecordWrite, type StoredRecord, Unavailable } from '../../ports.ts'
import { isRefusal, type Refusal } from '../../refusals.ts'
import type { Caller, Role } from '../caller.ts'
import type { People } from '../control.ts'
import { orUnavailable } from '../store_answer.ts'
import { type Cookie, cookieOf } from './cookies.ts'
import { parseObject } from './kept.ts'
import type { Place } from './place.ts'
import { refuseCrossSite } from './same_site.ts'

/** Who has signed in, and how; times are seconds since 1970. */
export interface SignedIn {
  readonly person: Person
  /** Roles that a one-time link gives, beside those of the configuration. */
  readonly roles: readonly Role[]
  /** When they showed the provider who they are; 0 where it did not say. */
  readonly authTime: number
  readonly acr: string | undefined
}

/** Somebody with a session. */
export interface Session extends SignedIn {
  readonly id: string
  /** What requests that change something have to show (same_site.ts). */
  readonly csrf: string
  readonly createdAt: number
  readonly expiresAt: number
}

/** The issuer of people who came by a one-time link. */
export const linkIssuer = 'leasegate:links'

export interface SessionParts {
  readonly records: Records
  readonly console: Config['console']
  readonly place: Place
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** How much of the idle time may pass before a session is marked as used again: not every read is a write. */
const touchShare = 0.1
const attempts = 8

export class Sessions implements People {
  readonly #parts: SessionParts
  readonly #cookie: Cookie

  constructor(parts: SessionParts) {
    this.#parts = parts
    this.#cookie = cookieOf(parts.console.url)
  }

  sessionsIn(cookie: string | undefined): readonly string[] {
    return this.#cookie.valuesIn(cookie)
  }

  async callerOf(value: string, req: IncomingMessage): Promise<Caller | Refusal | undefined> {
    const foreign = refuseCrossSite(req, { origin: this.#parts.place.url, csrf: csrfOf(value) })
    if (foreign !== undefined) return foreign
    const session = await orUnavailable(this.find(value))
    return session === undefined || isRefusal(session) ? session : this.caller(session)
  }

  /** Whoever has this cookie, wherever the request comes from. Throws `Unavailable`. */
  async find(value: string): Promise<Session | undefined> {
    // What was never a cookie of ours costs the store nothing.
    const found = /^[\w-]{43}$/.test(value) ? await this.#read(idOf(value)) : undefined
    if (found === undefined) return undefined
    const { record, kept, expiresAt } = found
    const now = this.#now()
    if (now - kept.seenAt > (this.#parts.console.idleMs / 1000) * touchShare) {
      // Lost to another request that marks it as well, or to a sign-out, which is to stand.
      await this.#parts.records.write([this.#write(record.id, { ...kept, seenAt: now }, record.version)])
    }
    const { seenAt: _, ...signedIn } = kept
    return { ...signedIn, id: record.id, csrf: csrfOf(value), expiresAt }
  }

  /**
   * Whether a caller is still signed in, for answers that go on for long; looking on is no use of a session. A program
   * is, as long as this process runs. Throws `Unavailable`.
   */
  async isSignedIn({ by, session }: Caller): Promise<boolean> {
    return by === 'token' || (session !== undefined && (await this.#read(session.id)) !== undefined)
  }

  /** With the roles that the configuration gives them now. */
  caller({ id, person, roles, authTime, acr }: Session): Caller {
    return {
      by: 'session',
      person,
      roles: [...new Set<Role>(['approver', ...roles, ...rolesOf(person, this.#parts.console.roles)])],
      tenant: undefined,
      session: { id, authTime, acr },
    }
  }

  /**
   * Begins a session under a new id, whatever the browser sent, and ends the one it replaces in the same step. Out: the
   * line for `Set-Cookie`. Throws `Unavailable`.
   */
  async begin(signedIn: SignedIn, replaced: readonly string[] = []): Promise<string> {
    const value = randomBytes(32).toString('base64url')
    const now = this.#now()
    const begun = this.#write(idOf(value), { ...signedIn, createdAt: now, seenAt: now }, 0)
    await this.#replace(replaced[0], [begun])
    return this.#cookie.set(value, this.#parts.console.sessionMs / 1000)
  }

  /** Ends a session, everywhere and at once. Out: the line that takes the cookie away. Throws `Unavailable`. */
  async end(value: string): Promise<string> {
    await this.#replace(value, [])
    return this.#cookie.clear
  }

  /** Ends one session and writes another in one step; again, where somebody has just marked it as used. */
  async #replace(ended: string | undefined, begun: readonly RecordWrite[]): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const removal = ended === undefined ? [] : await this.#removal(ended)
      if (await this.#parts.records.write([...begun, ...removal])) return
    }
    throw new Unavailable('others keep writing the same session')
  }

  /** A session that is not over, and when it is. */
  async #read(id: string) {
    const record = await this.#parts.records.get('session', id)
    const kept = record && read(record)
    if (record === undefined || kept === undefined) return undefined
    const { sessionMs, idleMs } = this.#parts.console
    const expiresAt = Math.min(kept.createdAt + sessionMs / 1000, kept.seenAt + idleMs / 1000)
    // An end which is no number is over.
    const lasts = this.#now() < expiresAt && kept.person.issuer === this.#issuer()
    return lasts ? { record, kept, expiresAt } : undefined
  }

  async #removal(value: string) {
    const record = await this.#parts.records.get('session', idOf(value))
    const now = this.#now()
    if (record === undefined) return []
    const { id, version } = record
    return [{ kind: 'session', id, expect: version, text: undefined, expiresAt: now, at: now } as const]
  }

  #write(id: string, kept: KeptSession, expect: number) {
    const { sessionMs, idleMs } = this.#parts.console
    const expiresAt = Math.min(kept.createdAt + sessionMs / 1000, kept.seenAt + idleMs / 1000)
    return { kind: 'session', id, expect, text: JSON.stringify(kept), expiresAt, at: kept.createdAt } as const
  }

  /** Whose word is good now: sessions of a provider that is no longer configured are over. */
  #issuer(): string {
    return this.#parts.console.signIn?.issuer ?? linkIssuer
  }

  #now(): number {
    return this.#parts.clock() / 1000
  }
}

type KeptSession = SignedIn & { readonly createdAt: number; readonly seenAt: number }

/** Undefined for what nobody here has written. */
function read({ text }: StoredRecord): KeptSession | undefined {
  const kept = parseObject(text)
  const { person, roles, createdAt, seenAt, authTime } = kept ?? {}
  const isPerson = isObject(person) && [person.user, person.issuer, person.subject].every(isText)
  const isWhole = isPerson && areTexts(person.groups) && areTexts(roles)
  const isDated = [createdAt, seenAt, authTime].every((time) => typeof time === 'number')
  return isWhole && isDated ? (kept as Record<string, unknown> & KeptSession) : undefined
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function areTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText)
}

/** Roles of a person by name or by group: a name that looks like a group is nobody's. */
export function rolesOf({ user, groups }: Person, roles: Config['console']['roles']): Role[] {
  const isNamed = (name: string) =>
    name.startsWith('group:') ? groups.includes(name.slice('group:'.length)) : name === user
  return (['operator', 'auditor', 'admin'] as const).filter((role) => roles[role].some(isNamed))
}

function idOf(value: string): string {
  return createHash('sha256').update(`session\n${value}`).digest('base64url')
}

/** Made of the cookie, so that it is of this session alone, and nothing of the cookie can be told from it. */
function csrfOf(value: string): string {
  return createHash('sha256').update(`csrf\n${value}`).digest('base64url')
}
