// How people come in and go out: `/console/sign-in`, `/console/callback`, `/sign-out`, `/me`. In: calls of a browser.
// Out: redirects, pages, who somebody is. What a browser has to bring back from the provider travels in a sealed cookie,
// so that an answer of the provider is worth nothing in another browser, and nothing twice.
import { createHash } from 'node:crypto'
import type { Sealer } from '../../approval/seal.ts'
import type { Config } from '../../config.ts'
import type { Store } from '../../ports.ts'
import { type Refusal, refuse } from '../../refusals.ts'
import type { Caller } from '../caller.ts'
import type { ControlAnswer, ControlCall, Endpoint } from '../control.ts'
import { orUnavailable } from '../store_answer.ts'
import { cookieOf } from './cookies.ts'
import type { SignInObserver } from './observed_sign_in.ts'
import { type Attempt, type OpenIdProvider, SignInFault } from './openid.ts'
import { type Page, pageAnswer } from './pages.ts'
import { callbackPath, type Place, pathWithin, signInPath } from './place.ts'
import type { Sessions } from './sessions.ts'

export interface SignInParts {
  readonly console: Config['console']
  readonly place: Place
  readonly sessions: Sessions
  /** Undefined: one-time links alone. */
  readonly provider: OpenIdProvider | undefined
  readonly sealer: () => Promise<Sealer>
  readonly store: Pick<Store, 'replay'>
  readonly observer: SignInObserver
  /** Whether somebody has a passkey. */
  readonly hasPasskey: (person: Caller['person']) => Promise<boolean>
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** How long somebody may take at the provider, seconds. */
const attemptSeconds = 600

/** What the sealed cookie is of. */
const attemptName = 'sign-in'

type KeptAttempt = Attempt & { readonly to: string; readonly until: number }

/** The endpoints; `/me` and `/sign-out` are for programs as well. */
export function signInEndpoints(parts: SignInParts): Endpoint[] {
  const page = { method: 'GET', access: 'open', takes: 'nothing', errors: 'problem' } as const
  return [
    { ...page, path: signInPath, serve: (call) => orUnavailable(begin(call, parts)) },
    { ...page, path: callbackPath, serve: (call) => orUnavailable(finish(call, parts)) },
    { ...page, path: '/me', serve: (call) => orUnavailable(me(call, parts)) },
    {
      ...page,
      method: 'POST',
      path: '/sign-out',
      access: ['approver', 'operator', 'auditor'],
      serve: (call) => orUnavailable(signOut(call, parts)),
    },
  ]
}

async function begin({ query, peer }: ControlCall, parts: SignInParts): Promise<ControlAnswer> {
  const {
    provider,
    place,
    sealer,
    clock,
    console: { url },
    observer,
  } = parts
  if (provider === undefined) return pageAnswer(linksAlone, url)
  const stepUp = query.get('step_up') === '1'
  const begun = await provider.begin(`${place.url}${callbackPath}`, stepUp)
  if (begun instanceof SignInFault) {
    observer.signInFailed(begun, peer)
    return pageAnswer(pageOf(begun), url)
  }
  const to = pathWithin(query.get('to') ?? undefined)
  const kept: KeptAttempt = { ...begun.attempt, to, until: clock() / 1000 + attemptSeconds }
  const sealed = (await sealer()).seal(attemptName, Buffer.from(JSON.stringify(kept)))
  return {
    status: 303,
    headers: { location: begun.url },
    cookies: [attemptCookie(url).set(sealed, attemptSeconds)],
  }
}

async function finish(call: ControlCall, parts: SignInParts): Promise<ControlAnswer> {
  const {
    provider,
    place,
    sessions,
    store,
    clock,
    console: { url },
    observer,
  } = parts
  if (provider === undefined) return pageAnswer(linksAlone, url)
  const now = clock() / 1000
  const cookies = [attemptCookie(url).clear]
  const fail = (fault: SignInFault) => {
    observer.signInFailed(fault, call.peer)
    return { ...pageAnswer(pageOf(fault), url), cookies }
  }
  const attempt = await keptAttempt(call, parts, now)
  // The same words for every one of them: this browser has not begun the sign-in that it comes back from.
  if (attempt === undefined || call.query.get('state') !== attempt.state) return fail(notBegunHere)
  const back = new URL(`${place.url}${callbackPath}?${call.query}`)
  const signedIn = await provider.finish(back, attempt)
  if (signedIn instanceof SignInFault) return fail(signedIn)
  // Last, so that nobody but people whom the provider knows fills the memory of what was used.
  const used = createHash('sha256').update(attempt.state).digest('base64url')
  if (!(await store.replay.use(`sign-in:${used}`, attempt.until, now))) return fail(notBegunHere)
  const cookie = await sessions.begin(signedIn, sessions.sessionsIn(call.header('cookie')))
  observer.signedIn(signedIn, attempt.stepUp ? 'step_up' : 'provider', call.peer)
  return { status: 303, headers: { location: attempt.to }, cookies: [...cookies, cookie] }
}

async function keptAttempt(
  { header }: ControlCall,
  parts: SignInParts,
  now: number,
): Promise<KeptAttempt | undefined> {
  const [sealed, ...others] = attemptCookie(parts.console.url).valuesIn(header('cookie'))
  const bytes = sealed === undefined ? undefined : (await parts.sealer()).open(attemptName, sealed)
  if (bytes === undefined || others.length > 0) return undefined
  const kept: KeptAttempt = JSON.parse(Buffer.from(bytes).toString())
  return now < kept.until ? kept : undefined
}

async function me({ caller, header }: ControlCall, parts: SignInParts): Promise<ControlAnswer | Refusal> {
  const {
    sessions,
    console: { signIn, passkeys },
  } = parts
  if (caller?.by === 'token') {
    const {
      person: { user, groups },
      roles,
    } = caller
    return { status: 200, body: { user, groups, roles, sign_in: 'token', passkeys, has_passkey: false } }
  }
  const [value, ...others] = sessions.sessionsIn(header('cookie'))
  const session = value === undefined || others.length > 0 ? undefined : await sessions.find(value)
  if (session === undefined) return refuse('sign_in_required', { answer: { sign_in: signInPath } })
  const { person } = session
  return {
    status: 200,
    body: {
      user: person.user,
      groups: person.groups,
      roles: sessions.caller(session).roles,
      signed_in_at: session.createdAt,
      acr: session.acr ?? null,
      expires_at: session.expiresAt,
      csrf: session.csrf,
      sign_in: signIn === undefined ? 'link' : 'oidc',
      passkeys,
      has_passkey: await parts.hasPasskey(person),
    },
  }
}

async function signOut(
  { caller, header, peer }: ControlCall,
  parts: SignInParts,
): Promise<ControlAnswer | Refusal> {
  const [value] = parts.sessions.sessionsIn(header('cookie'))
  if (caller?.by !== 'session' || value === undefined) {
    return refuse('malformed_request', { detail: 'a token has no session to end' })
  }
  const cleared = await parts.sessions.end(value)
  parts.observer.signedOut(caller.person, peer)
  return { status: 204, cookies: [cleared] }
}

function attemptCookie(url: string) {
  return cookieOf(url, '-sign-in')
}

const notBegunHere = new SignInFault(
  'person',
  'this browser has not begun this sign-in, or has finished it already',
  'attempt_unknown',
)

function pageOf({ kind, text }: SignInFault): Page {
  const isPerson = kind === 'person'
  return {
    status: isPerson ? 403 : 503,
    title: isPerson ? 'You are not signed in' : 'Nobody can sign in right now',
    text: [`${text.charAt(0).toUpperCase()}${text.slice(1)}.`],
    next: { label: 'Try again', href: signInPath },
  }
}

const linksAlone: Page = {
  status: 403,
  title: 'Sign in with a link',
  text: ['No sign-in provider is configured here. Whoever runs this gate makes you a link that works once:'],
  command: 'leasegate console --user you@example.com',
}
