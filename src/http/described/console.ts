// What the console's pages, signing in and `/status` say of themselves.
import { z } from 'zod'
import type { Description } from '../description.ts'
import { count, text, time } from './words.ts'

const page = (summary: string): Description => ({ summary, media: 'text/html' })
const redirect = (summary: string): Description => ({ summary, status: 303 })

const role = z.enum(['approver', 'operator', 'auditor', 'admin'])

const gate = z.looseObject({
  id: text,
  host: text,
  pid: z.int(),
  role: z.enum(['gate', 'broker', 'both']),
  workers: count,
  version: text,
  started_at: time,
  seen_at: time,
  policy_digest: text,
  revocation_age_ms: z.number().nullable(),
  revocation_entries: count,
  store: text,
  ready: z.boolean(),
  faults: z.array(text),
})

export const describedConsole: Readonly<Record<string, Description>> = {
  'GET /status': {
    summary: 'The processes that are up on this store, and how each of them is',
    answer: z.looseObject({ gates: z.array(gate), now: time }),
    errors: ['evidence_unavailable'],
  },
  'GET /me': {
    summary: 'Who is signed in, and what they may do',
    answer: z.looseObject({
      user: text,
      groups: z.array(text),
      roles: z.array(role),
      // Of people: a program has no session.
      signed_in_at: time.optional(),
      acr: text.nullable().optional(),
      expires_at: time.optional(),
      csrf: text.optional(),
      sign_in: z.enum(['oidc', 'link', 'token']),
      passkeys: z.enum(['never', 'high', 'always']),
      has_passkey: z.boolean(),
    }),
    errors: ['sign_in_required', 'credential_ambiguous', 'evidence_unavailable'],
  },
  'GET /console': page('The console'),
  'GET /console/{file}': { summary: 'A file of the console', media: '*/*' },
  'GET /console/sign-in': {
    ...redirect('Sign in: goes to the identity provider'),
    query: [
      { name: 'to', description: 'a page of the console to go to afterwards' },
      { name: 'step_up', description: '1: show who you are once more' },
    ],
  },
  'GET /console/callback': redirect('Where the identity provider sends people back to'),
  'GET /console/link': page('A one-time link, from the terminal of the machine'),
  'POST /console/link': {
    ...redirect('Signs in by a one-time link'),
    body: z.looseObject({ token: text }),
    errors: ['cross_site', 'invalid_request', 'evidence_unavailable'],
  },
  'POST /console/links': {
    summary: 'Make a one-time link; an operator token of an admin may',
    body: z.strictObject({
      user: text,
      groups: z.array(text).optional(),
      roles: z.array(role).optional(),
    }),
    answer: z.looseObject({ url: text, expires_at: time }),
    status: 201,
    errors: ['malformed_request', 'evidence_unavailable'],
  },
  'POST /sign-out': { summary: 'End the session', status: 204, errors: ['malformed_request'] },
  'GET /passkeys': {
    summary: 'Your passkeys',
    answer: z.looseObject({ passkeys: z.array(z.looseObject({ id: text })) }),
    errors: ['evidence_unavailable'],
  },
  'POST /passkeys/options': {
    summary: 'Options for a new passkey (WebAuthn)',
    answer: z.looseObject({ challenge: text }),
    errors: ['reauthentication_required', 'evidence_unavailable'],
  },
  'POST /passkeys': {
    summary: 'Keep a new passkey',
    body: z.looseObject({}),
    answer: z.looseObject({ id: text }),
    status: 201,
    errors: [
      'malformed_request',
      'confirmation_required',
      'reauthentication_required',
      'evidence_unavailable',
    ],
  },
  'POST /passkeys/{id}/remove': {
    summary: 'Forget a passkey',
    status: 204,
    errors: ['evidence_unavailable'],
  },
}
