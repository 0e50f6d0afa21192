// In: the parsed approvals, console and notify sections. Out: the same as the program reads them, paths resolved, and
// what is wrong between their fields. Never: opens a file, prints a secret.
import { resolve } from 'node:path'
import { z } from 'zod'
import type { Config } from '../config.ts'
import { duration, filePath, list, oneOf, seconds, section, size, text } from './fields.ts'
import { listeners, listenerUrl } from './listeners.ts'
import { hideSecret, hideSecrets } from './references.ts'
import { parseKeyUrl, parseOrigin, parsePlain } from './scalars.ts'
import { at, type RelationScope, select, textAt } from './select.ts'
import { speaksTls } from './tls.ts'

const word = parsePlain(/^[!-~]{1,255}$/, 'write printable characters without spaces')
const name = parsePlain(
  /^(group:)?[!-~]{1,255}$/,
  'write a user as leases name them, or group:NAME, without spaces',
)
const claim = parsePlain(/^[^.\s]+(\.[^.\s]+)*$/, 'write a dotted path into the claims, such as email')
const webhookSecret = parsePlain(
  // Whole groups of base64: of another length receivers and we would not read the same key.
  /^whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
  'write whsec_ and 24 to 64 random bytes as base64 (Standard Webhooks)',
)

/** What somebody can be told of. */
export const noticeEvents = ['approval.requested', 'approval.decided', 'draft.executed'] as const

/** Calls that wait for a human. */
export const approvalsSchema = section({
  key_file: filePath().prefault('./data/approvals.key'),
  max_body: size('0B', '64MiB').prefault('256KiB'),
  max_response: size('0B', '64MiB').prefault('1MiB'),
  max_wait: seconds('0s', '10m').prefault('60s'),
  max_pending: z
    .int({ error: 'write a whole number from 1 to 1000' })
    .min(1, { error: 'write a whole number from 1 to 1000' })
    .max(1000, { error: 'write a whole number from 1 to 1000' })
    .prefault(20),
})

/** Where people decide. */
export const consoleSchema = section({
  url: text(parseOrigin, 'https://leasegate.example').optional(),
  sign_in: section({
    issuer: text(parseKeyUrl, 'https://login.example'),
    client_id: text(word, 'leasegate-console'),
    client_secret: text(word, `"\${env:CONSOLE_SECRET}"`).optional(),
    scopes: list(text(word, 'openid')).prefault(['openid', 'email', 'profile']),
    user: text(claim, 'email').prefault('email'),
    groups: text(claim, 'groups').prefault('groups'),
    step_up: section({
      acr: list(text(word, '"urn:corp:loa:2"')).prefault([]),
      max_age: seconds('10s', '24h').prefault('5m'),
    }).prefault({}),
  }).optional(),
  roles: section({
    operator: list(text(name, '"group:sre"')).prefault([]),
    auditor: list(text(name, '"group:audit"')).prefault([]),
    admin: list(text(name, '"group:platform"')).prefault([]),
  }).prefault({}),
  session: duration('1m', '24h').prefault('8h'),
  idle: duration('1m', '24h').prefault('30m'),
  passkeys: oneOf(['never', 'high', 'always']).prefault('never'),
})

/** One place that is told. */
export const noticeSchema = section({
  url: text(parseKeyUrl, 'https://hooks.example/leasegate'),
  format: oneOf(['standard', 'slack']).prefault('standard'),
  secret: text(webhookSecret, `"\${env:WEBHOOK_SECRET}"`).optional(),
  events: list(oneOf(noticeEvents)).min(1, 'name at least one event').prefault(['approval.requested']),
})

/** The three sections for the program. */
export function buildApprovals(
  file: {
    readonly approvals: z.output<typeof approvalsSchema>
    readonly console: z.output<typeof consoleSchema>
    readonly notify: readonly z.output<typeof noticeSchema>[]
  },
  controlUrl: string,
  dir: string,
): Pick<Config, 'approvals' | 'console' | 'notify'> {
  const { key_file, max_body, max_response, max_wait, max_pending } = file.approvals
  const { url, sign_in: signIn, roles, session, idle, passkeys } = file.console
  return {
    approvals: {
      keyFile: resolve(dir, key_file),
      maxBodyBytes: max_body,
      maxResponseBytes: max_response,
      maxWaitSeconds: max_wait,
      maxPending: max_pending,
    },
    console: {
      url: url ?? controlUrl,
      signIn: signIn && buildSignIn(signIn),
      roles,
      sessionMs: session,
      idleMs: idle,
      passkeys,
    },
    notify: file.notify.map(({ secret, ...rest }) =>
      hideSecrets({ ...rest, secret: secret ?? '' }, ['secret', 'url']),
    ),
  }
}

function buildSignIn(
  file: NonNullable<z.output<typeof consoleSchema>['sign_in']>,
): Config['console']['signIn'] {
  const { issuer, client_id, client_secret, scopes, user, groups, step_up } = file
  return hideSecret(
    {
      issuer,
      clientId: client_id,
      clientSecret: client_secret ?? '',
      scopes,
      userClaim: user,
      groupsClaim: groups,
      stepUp: { acr: step_up.acr, maxAgeSeconds: step_up.max_age },
    },
    'clientSecret',
  )
}

/** Cookies of a session are for https or this machine alone; a standard webhook is signed. */
export function approvalRelations(root: unknown, scope: RelationScope): void {
  const control = listeners(root).find((each) => each.path[1] === 'control')
  const own = control && listenerUrl(control, speaksTls(root, 'control'))
  const written = textAt(root, ['console', 'url'])
  const url = written ?? own
  if (at(root, ['console', 'sign_in']) !== undefined && url !== undefined && !isTrustworthy(url)) {
    const path = written === undefined ? ['console', 'sign_in'] : ['console', 'url']
    scope.report(path, 'write an https console.url, or set tls.control: sessions need https')
  }
  const passkeys = textAt(root, ['console', 'passkeys'])
  if (passkeys !== undefined && passkeys !== 'never' && url !== undefined && isAddress(url)) {
    const path = written === undefined ? ['console', 'passkeys'] : ['console', 'url']
    scope.report(
      path,
      'write a console.url with a name, such as http://localhost:8081: passkeys are of names',
    )
  }
  const told = new Set<string>()
  for (const { path, value } of select(root, ['notify', '*'])) {
    const format = textAt(value, ['format']) ?? 'standard'
    const place = `${format} ${textAt(value, ['url'])}`
    if (told.has(place)) scope.report(path, 'merge it with the one before: a place is told once, by one key')
    told.add(place)
    const hasSecret = at(value, ['secret']) !== undefined
    if (format === 'standard' && !hasSecret) scope.report(path, 'add secret: standard webhooks are signed')
    if (format === 'slack' && hasSecret) scope.report([...path, 'secret'], 'remove it: Slack checks none')
  }
}

/** The host of a passkey's relying party has to be a domain (WebAuthn §5.1.3). */
function isAddress(url: string): boolean {
  return URL.canParse(url) && /^(\[.*\]|[\d.]+)$/.test(new URL(url).hostname)
}

function isTrustworthy(url: string): boolean {
  if (!URL.canParse(url)) return true
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || /^(127\.\d+\.\d+\.\d+|localhost|\[::1\])$/.test(hostname)
}
