// One-time links, for a first run without a sign-in provider: `POST /console/links` makes one, `/console/link` is where
// it leads. In: whom it is for. Out: a URL that signs in once, within ten minutes. Its page does nothing until its button
// is pressed: chat programs and mail scanners open what they are sent.
import { randomBytes } from 'node:crypto'
import type { Sealer } from '../../approval/seal.ts'
import type { Config } from '../../config.ts'
import { isObject, isPlainText } from '../../lease/text.ts'
import type { Store } from '../../ports.ts'
import { isRefusal, type Refusal, refuse } from '../../refusals.ts'
import type { Role } from '../caller.ts'
import type { ControlAnswer, ControlCall, Endpoint } from '../control.ts'
import { orUnavailable } from '../store_answer.ts'
import { isTrustworthy } from './cookies.ts'
import type { SignInObserver } from './observed_sign_in.ts'
import { pageAnswer } from './pages.ts'
import { linkPath, type Place } from './place.ts'
import { refuseForeign } from './same_site.ts'
import { linkIssuer, type Sessions } from './sessions.ts'

export interface LinkParts {
  readonly console: Config['console']
  readonly place: Place
  readonly sessions: Sessions
  readonly sealer: () => Promise<Sealer>
  readonly store: Pick<Store, 'replay'>
  readonly observer: SignInObserver
  /** Milliseconds since 1970. */
  readonly clock: () => number
}

/** How long a link is good for, seconds. */
const linkSeconds = 600

/** What a link is sealed as. */
const linkName = 'link'

const roleNames: ReadonlySet<string> = new Set(['approver', 'operator', 'auditor', 'admin'] satisfies Role[])

interface Link {
  readonly id: string
  readonly user: string
  readonly groups: readonly string[]
  readonly roles: readonly Role[]
  readonly until: number
}

/** Administrators make links, with their token: who could be anybody has every right there is. */
export function linkEndpoints(parts: LinkParts): Endpoint[] {
  const common = { path: linkPath, access: 'open', errors: 'problem' } as const
  return [
    {
      method: 'POST',
      path: '/console/links',
      access: ['admin'],
      takes: 'json',
      errors: 'problem',
      serve: (call) => orUnavailable(make(call, parts)),
    },
    { ...common, method: 'GET', takes: 'nothing', serve: (call) => orUnavailable(show(call, parts)) },
    { ...common, method: 'POST', takes: 'form', serve: (call) => orUnavailable(follow(call, parts)) },
  ]
}

async function make({ caller, json, peer }: ControlCall, parts: LinkParts): Promise<ControlAnswer | Refusal> {
  const {
    console: { signIn, url },
    place,
    sealer,
    clock,
    observer,
  } = parts
  if (caller?.by !== 'token' || caller.tenant !== undefined) {
    return refuse('operator_not_allowed', { detail: 'an administrator token of no tenant makes links' })
  }
  if (signIn !== undefined) {
    return refuse('operator_not_allowed', { detail: 'people sign in at the provider of console.sign_in' })
  }
  if (!isTrustworthy(url)) {
    return refuse('operator_not_allowed', {
      detail: `${url} is neither https nor this machine: write console.url as people reach it`,
    })
  }
  const asked = readAsk(json)
  if (isRefusal(asked)) return asked
  const until = Math.floor(clock() / 1000) + linkSeconds
  const link: Link = { id: randomBytes(16).toString('base64url'), ...asked, until }
  const token = (await sealer()).seal(linkName, Buffer.from(JSON.stringify(link)))
  observer.linkMade(asked, caller.person.user, peer)
  return { status: 201, body: { url: `${place.url}${linkPath}?token=${token}`, expires_at: until } }
}

function readAsk(json: unknown): Pick<Link, 'user' | 'groups' | 'roles'> | Refusal {
  const { user, groups = [], roles = [], ...others } = isObject(json) ? json : {}
  if (!isPlainText(user) || user.startsWith('group:')) return bad('user has to name a person')
  if (!isTexts(groups) || groups.length > 100) return bad('groups has to be a list of up to 100 names')
  if (!isTexts(roles) || !roles.every(isRole)) {
    return bad(`roles has to be a list of ${[...roleNames].join(', ')}`)
  }
  if (Object.keys(others).length > 0) return bad('send user, groups and roles, and nothing else')
  return { user, groups, roles }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => isPlainText(each))
}

function isRole(name: string): name is Role {
  return roleNames.has(name)
}

function bad(detail: string): Refusal {
  return refuse('malformed_request', { detail })
}

/** Looks at the link and leaves it as it is. */
async function show({ query }: ControlCall, parts: LinkParts): Promise<ControlAnswer> {
  const { url } = parts.console
  const token = query.get('token') ?? ''
  const link = await read(token, parts)
  if (link === undefined) return over(url)
  return pageAnswer(
    {
      status: 200,
      title: `Sign in as ${link.user}`,
      text: ['This link signs in once, in this browser.'],
      next: { label: 'Sign in', href: linkPath, token },
    },
    url,
  )
}

async function follow(call: ControlCall, parts: LinkParts): Promise<ControlAnswer | Refusal> {
  const {
    sessions,
    place,
    store,
    observer,
    clock,
    console: { url },
  } = parts
  // Somebody else's link, posted by somebody else's page, would make this browser's user act as them.
  const foreign = refuseForeign(call.origins, place.url)
  if (foreign !== undefined) return foreign
  const link = await read(call.form.get('token') ?? '', parts)
  const now = clock() / 1000
  if (link === undefined || !(await store.replay.use(`link:${link.id}`, link.until, now))) {
    observer.signInFailed({ kind: 'person', cause: 'link_unusable' }, call.peer)
    return over(url)
  }
  const { user, groups, roles } = link
  const person = { user, issuer: linkIssuer, subject: user, groups }
  const signedIn = { person, roles, authTime: now, acr: undefined }
  const cookie = await sessions.begin(signedIn, sessions.sessionsIn(call.header('cookie')))
  observer.signedIn(signedIn, 'link', call.peer)
  return { status: 303, headers: { location: '/console' }, cookies: [cookie] }
}

/** Undefined: not one of ours, over, or people sign in at a provider by now. */
async function read(
  token: string,
  { sealer, clock, console: { signIn } }: LinkParts,
): Promise<Link | undefined> {
  const bytes = signIn === undefined ? (await sealer()).open(linkName, token) : undefined
  if (bytes === undefined) return undefined
  const link: Link = JSON.parse(Buffer.from(bytes).toString())
  return clock() / 1000 < link.until ? link : undefined
}

function over(url: string): ControlAnswer {
  return pageAnswer(
    {
      status: 403,
      title: 'This link does not work any more',
      text: ['It has been used, or its ten minutes are over. Ask for another one:'],
      command: 'leasegate console',
    },
    url,
  )
}
