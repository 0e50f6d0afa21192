// A control listener where people sign in, in this process: real sockets, a real store, a clock that can be moved, and
// browsers that keep cookies per origin and follow redirects one by one. Never a stand-in for a part.
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Person } from '../../src/approval/action.ts'
import { createSealer } from '../../src/approval/seal.ts'
import type { Config } from '../../src/config.ts'
import type { Role } from '../../src/http/caller.ts'
import { createConfirmation } from '../../src/http/console/confirm.ts'
import { linkEndpoints } from '../../src/http/console/links.ts'
import type { SignInObserver } from '../../src/http/console/observed_sign_in.ts'
import { OpenIdProvider } from '../../src/http/console/openid.ts'
import { passkeyEndpoints } from '../../src/http/console/passkey_endpoints.ts'
import { Passkeys } from '../../src/http/console/passkeys.ts'
import { placeOf } from '../../src/http/console/place.ts'
import { Sessions } from '../../src/http/console/sessions.ts'
import { signInEndpoints } from '../../src/http/console/sign_in.ts'
import { createControlListener, type Endpoint } from '../../src/http/control.ts'
import { operator } from '../../src/http/operators.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'

type ConsoleConfig = Config['console']

export const adminToken = 'operator-token-of-the-admin'
/** The token of a program that has one role alone. */
export const tokenOf = (role: Role) => `operator-token-of-one-${role}`
const programs = ['approver', 'operator', 'auditor', 'admin'] as const

export type TestConsole = Awaited<ReturnType<typeof startTestConsole>>

/** Starts one; `more` adds endpoints. */
export async function startTestConsole(
  config: Partial<ConsoleConfig> = {},
  more: (parts: {
    store: Awaited<ReturnType<typeof openEmbedded>>
    clock: () => number
  }) => Endpoint[] = () => [],
) {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-console-'))
  const file = join(dir, 'state.db')
  const store = await openEmbedded({ path: file, maxStalenessMs: 2_000 })
  const console: ConsoleConfig = { ...usual, ...config }
  const told: (readonly unknown[])[] = []
  const state = { ahead: 0 }
  const clock = () => Date.now() + state.ahead * 1000
  const place = placeOf(console.url, () => server)
  const sealer = async () =>
    createSealer(Buffer.from(await store.secrets.shared('console')).toString('base64url'))
  const sessions = new Sessions({ records: store.records, console, place, clock })
  const passkeys = new Passkeys({ records: store.records, replay: store.replay, sealer, place, clock })
  const observer = observerOf(told)
  const shared = { console, place, sessions, sealer, store, observer, clock }
  const provider = console.signIn && new OpenIdProvider(console.signIn)
  const hasPasskey = (person: Person) => passkeys.has(person)
  const bugs: unknown[] = []
  const server = createControlListener({
    endpoints: [
      ...signInEndpoints({ ...shared, provider, hasPasskey }),
      ...linkEndpoints(shared),
      ...passkeyEndpoints({ console, passkeys, observer, clock }),
      ...more({ store, clock }),
    ],
    operators: [
      operator('admin', adminToken, { roles: ['admin'] }),
      operator('acme', 'operator-token-of-acme-admin', { roles: ['admin'], tenant: 'acme' }),
      ...programs.map((role) => operator(`one-${role}`, tokenOf(role), { roles: [role] })),
    ],
    people: sessions,
    publicUrl: 'http://control.example',
    onBug: (bug) => bugs.push(bug),
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const at = { url, file, store, sessions, passkeys, place, clock, told, bugs, state }
  return {
    ...at,
    config: console,
    confirmation: createConfirmation({ console, passkeys, clock }),
    /** While it runs, the store is gone. */
    async withoutStore<R>(run: () => Promise<R>): Promise<R> {
      renameSync(file, `${file}.away`)
      try {
        return await run()
      } finally {
        renameSync(`${file}.away`, file)
      }
    },
    /** A link, as `leasegate console` gets it. */
    async link(body: object = { user: 'alice@example.com' }): Promise<string> {
      const answer = await fetch(`${url}/console/links`, {
        method: 'POST',
        headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      const { url: link } = (await answer.json()) as { url: string }
      return link
    },
    /** A browser in which somebody has followed a link. */
    async signedIn(body?: object): Promise<Browser> {
      const browser = new Browser(url)
      const token = new URL(await this.link(body)).searchParams.get('token')!
      await browser.post('/console/link', { token })
      await browser.learn()
      return browser
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await store.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

const usual: ConsoleConfig = {
  url: 'http://127.0.0.1:0',
  signIn: undefined,
  roles: { operator: [], auditor: [], admin: [] },
  sessionMs: 8 * 3_600_000,
  idleMs: 30 * 60_000,
  passkeys: 'never',
}

function observerOf(told: (readonly unknown[])[]): SignInObserver {
  const tell =
    (event: string) =>
    (...facts: unknown[]) =>
      void told.push([event, ...facts])
  return {
    signedIn: tell('signedIn'),
    signInFailed: tell('signInFailed'),
    signedOut: tell('signedOut'),
    linkMade: tell('linkMade'),
    passkeyChanged: tell('passkeyChanged'),
  }
}

/** Keeps cookies as a browser does: per host, and never looks into one. */
export class Browser {
  readonly #url: string
  /** Per origin. */
  readonly cookies = new Map<string, Map<string, string>>()
  /** Of the session, once learnt. */
  csrf = ''

  constructor(url: string) {
    this.#url = url
  }

  /** One request; redirects are left to the caller. */
  async fetch(
    path: string,
    init: RequestInit & { headers?: Record<string, string> } = {},
  ): Promise<Response> {
    const url = new URL(path, this.#url)
    const jar = this.cookies.get(url.origin) ?? new Map<string, string>()
    this.cookies.set(url.origin, jar)
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers = { ...(cookie !== '' && { cookie }), ...init.headers }
    const answer = await fetch(url, { ...init, redirect: 'manual', headers })
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
      if (/;\s*max-age=0\b/i.test(line) || value === '') jar.delete(name!)
      else jar.set(name!, value!)
    }
    return answer
  }

  /** Sends a form, as a page of the console does. */
  post(path: string, form: Record<string, string>, headers: Record<string, string> = {}): Promise<Response> {
    return this.fetch(path, { method: 'POST', body: new URLSearchParams(form), headers })
  }

  /** Sends JSON, as a script of the console does. */
  order(path: string, json: object, headers: Record<string, string> = {}): Promise<Response> {
    const own = { 'content-type': 'application/json', 'leasegate-csrf': this.csrf, ...headers }
    return this.fetch(path, { method: 'POST', body: JSON.stringify(json), headers: own })
  }

  /** `GET /me`, which says what requests have to show. */
  async learn(): Promise<Record<string, unknown>> {
    const answer = await this.fetch('/me')
    const me = (await answer.json()) as Record<string, unknown>
    this.csrf = typeof me.csrf === 'string' ? me.csrf : ''
    return me
  }

  /** Goes from redirect to redirect, starting at `path`, until an answer is none, or would lead to `until`. */
  async follow(path: string, until?: string): Promise<{ answer: Response; at: URL }> {
    let at = new URL(path, this.#url)
    for (let hops = 0; hops < 20; hops++) {
      if (until !== undefined && at.href.startsWith(until)) return { answer: new Response(), at }
      const answer = await this.fetch(at.href)
      const location = answer.headers.get('location')
      if (location === null) return { answer, at }
      await answer.body?.cancel()
      at = new URL(location, at)
    }
    throw new Error('the redirects did not end')
  }

  /** The session cookie that it holds for the console. */
  get session(): string | undefined {
    return this.cookies.get(new URL(this.#url).origin)?.get('leasegate')
  }
}
