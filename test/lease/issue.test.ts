import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { type LeaseDetail, parseAllow } from '../../src/lease/allow.ts'
import { type IssueContext, type IssuedLease, issueLease, type LeaseAsk } from '../../src/lease/issue.ts'
import { openKeys } from '../../src/lease/keys.ts'
import { stages } from '../../src/lease/lease.ts'
import { openLocalKey } from '../../src/lease/local_key.ts'
import { createVerifier } from '../../src/lease/verify.ts'
import { isRefusal, type Refusal } from '../../src/refusals.ts'
import { testIssuer } from '../support/tokens.ts'

const now = 1_795_300_000
const dir = mkdtempSync(join(tmpdir(), 'leasegate-issue-'))
const key = await openLocalKey(join(dir, 'broker.jwk'))
const broker = testIssuer({ now })
const { issuer, audience } = broker
const keys = await openKeys([{ issuer, jwks: { local: true } }], { local: () => [key.publicJwk] })
const { verify } = createVerifier({ issuers: [broker.profile()], keys })
afterAll(() => {
  keys.close()
  rmSync(dir, { recursive: true })
})

const context: IssueContext = { key, issuer, audience, now, workflows: ['workflow:'] }
const ask: LeaseAsk = {
  user: 'alice@example.com',
  agent: { id: 'agent:triage', version: '3.2.1', env: 'prod', profile: 'support' },
  task: { system: 'jira', id: 'SUP-1', purpose: 'answer a question' },
  details: [allowed('read,list crm:customer/9821')],
}

function allowed(text: string): LeaseDetail {
  const allow = parseAllow(text)
  if (!allow.ok) throw new Error(allow.problem)
  return allow.detail
}

async function issued(overrides: Partial<LeaseAsk> = {}, at = now): Promise<IssuedLease> {
  const lease = await issueLease({ ...ask, ...overrides }, { ...context, now: at })
  if (isRefusal(lease)) throw new Error(`refused: ${lease.facts.cause}`)
  return lease
}

describe('issuing', () => {
  test('makes the token of the design', async () => {
    const { token, claims } = await issued()
    const [header = '', payload = ''] = token.split('.')
    const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
    expect(decode(header)).toEqual({ typ: 'at+jwt', alg: 'ES256', kid: key.kid })
    expect(decode(payload)).toEqual(claims)
    expect(claims).toMatchObject({
      iss: issuer,
      aud: audience,
      client_id: 'agent:triage',
      sub: 'alice@example.com',
      act: { iss: issuer, sub: 'agent:triage', sub_profile: 'ai_agent' },
      iat: now,
      nbf: now,
      exp: now + 300,
      jti: expect.stringMatching(/^ltk_[0-9A-Z]{26}$/),
      scope: 'crm:read crm:list',
      authorization_details: [
        {
          type: 'lease',
          actions: ['read', 'list'],
          identifier: 'crm:customer/9821',
          sensitivity: 'confidential',
        },
      ],
      lease: {
        id: expect.stringMatching(/^lse_[0-9A-Z]{26}$/),
        stage: 'observe',
        max_exp: now + 3600,
        session: expect.stringMatching(/^ses_[0-9A-Z]{26}$/),
      },
    })
  })

  test('makes the record of the lease', async () => {
    const { claims, record } = await issued()
    expect(record).toEqual({
      id: claims.lease.id,
      issuer,
      tenant: '',
      user: 'alice@example.com',
      agent: 'agent:triage',
      agentVersion: '3.2.1',
      agentEnv: 'prod',
      clientId: 'agent:triage',
      profile: 'support',
      profileVersion: '',
      task: ask.task,
      session: claims.lease.session,
      stage: 'observe',
      audience,
      details: ask.details,
      ancestors: [],
      delegatedBy: [],
      issuedAt: now,
      expiresAt: now + 300,
      maxExpiresAt: now + 3600,
      renewals: 0,
      state: 'active',
      version: 0,
    })
  })

  test.each([
    ['an hour', 3600, now + 300],
    ['five minutes and one second', 301, now + 300],
    ['a minute', 60, now + 60],
  ])('a token asked for %s lives five minutes at most', async (_name, ttlSeconds, exp) => {
    expect((await issued({ ttlSeconds })).claims.exp).toBe(exp)
  })

  test('no token outlives its lease', async () => {
    expect((await issued({ leaseSeconds: 120 })).claims.exp).toBe(now + 120)
  })

  test('renewing keeps lease, session and end, and gives another token', async () => {
    const first = await issued()
    const again = await issued({ renews: first.record }, now + 3500)
    expect(again.claims.lease).toEqual(first.claims.lease)
    expect(again.claims.jti).not.toBe(first.claims.jti)
    expect(again.claims.exp).toBe(first.claims.lease.max_exp)
  })

  const refusedRows: [name: string, overrides: Partial<LeaseAsk>, cause: string][] = [
    ['a user with a line break', { user: 'alice\nbob' }, 'claim_malformed'],
    ['an empty agent', { agent: { ...ask.agent, id: '' }, clientId: 'x' }, 'act_malformed'],
    ['nothing', { details: [] }, 'details_missing'],
    ['every action', { details: [allowed('* crm:customer/*')] }, 'details_any_action'],
    ['a purpose of spaces', { task: { ...ask.task, purpose: '  ' } }, 'lease_claim_malformed'],
    ['no time at all', { ttlSeconds: 0 }, 'time_malformed'],
    ['less than no time', { ttlSeconds: -60 }, 'time_malformed'],
    ['a time that is no number', { ttlSeconds: Number.NaN }, 'time_malformed'],
    [
      'a lease that is over',
      { renews: { id: 'lse_1', session: 'ses_1', maxExpiresAt: now, issuedAt: now - 60, renewals: 0 } },
      'time_malformed',
    ],
    ['a person who acts for themselves', { agent: { ...ask.agent, id: ask.user } }, 'act_missing'],
  ]
  test.each(refusedRows)('%s is refused before anything is signed', async (_name, overrides, cause) => {
    const refusal = await issueLease({ ...ask, ...overrides }, context)
    expect(refusal).toMatchObject({ code: 'lease_invalid', facts: { cause } } satisfies Partial<Refusal>)
  })

  test('every action is issued where the issuer may', async () => {
    const any = { ...ask, details: [allowed('* crm:customer/*')] }
    expect(isRefusal(await issueLease(any, { ...context, allowAnyAction: true }))).toBe(false)
  })
})

describe('whatever is issued', () => {
  const word = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9 @.:_-]{0,40}[A-Za-z0-9]$/)
  const verb = fc.constantFrom('read', 'list', 'update', 'delete', 'comment')
  const identifier = fc
    .tuple(
      fc.constantFrom('crm', 'mail-2'),
      fc.array(fc.stringMatching(/^[A-Za-z0-9_-]+$/), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
    )
    .map(([backend, path, subtree]) => `${backend}:${path.join('/')}${subtree ? '/*' : ''}`)
  const details = fc.array(
    fc.record({
      type: fc.constant('lease' as const),
      actions: fc.uniqueArray(verb, { minLength: 1 }),
      identifier,
      sensitivity: fc.constantFrom('public', 'internal', 'confidential', 'restricted'),
      constraints: fc.record({ max_calls: fc.nat() }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  const agent = fc.record(
    { id: word.map((id) => `agent:${id}`), version: word, env: word, profile: word, instance: word },
    { requiredKeys: ['id', 'version', 'env', 'profile'] },
  )
  const asks = fc.record({
    user: word,
    agent,
    task: fc.record({ system: word, id: word, purpose: word }),
    details,
    stage: fc.constantFrom(...stages),
    ttlSeconds: fc.integer({ min: 1, max: 600 }),
    leaseSeconds: fc.integer({ min: 1, max: 86_400 }),
  })

  test('the verifier accepts, with the same facts', async () => {
    await fc.assert(
      fc.asyncProperty(asks, async (asked) => {
        const { token, claims, record } = await issued(asked)
        expect(await verify(token, now, [audience])).toMatchObject({
          id: record.id,
          issuer,
          tokenId: claims.jti,
          user: asked.user,
          agent: { instance: '', ...asked.agent },
          task: asked.task,
          stage: asked.stage,
          session: record.session,
          grants: asked.details.map(({ type: _, ...grant }) => grant),
          issuedAt: record.issuedAt,
          expiresAt: record.expiresAt,
          maxExpiresAt: record.maxExpiresAt,
        })
      }),
    )
  })

  test('by a workflow for itself, too', async () => {
    const { token, claims } = await issued({
      user: 'workflow:nightly',
      agent: { ...ask.agent, id: 'workflow:nightly' },
    })
    expect(claims.act).toBeUndefined()
    expect(await verify(token, now, [audience])).toMatchObject({ agent: { id: 'workflow:nightly' } })
  })
})

describe('--allow', () => {
  const detail = (actions: string[], identifier: string, sensitivity: string) => ({
    ok: true,
    detail: { type: 'lease', actions, identifier, sensitivity },
  })
  test.each([
    ['read crm:customer/9821', detail(['read'], 'crm:customer/9821', 'confidential')],
    ['read,list crm:customer/*', detail(['read', 'list'], 'crm:customer/*', 'confidential')],
    ['read crm:customer public', detail(['read'], 'crm:customer', 'public')],
    ['read crm:customer up to restricted', detail(['read'], 'crm:customer', 'restricted')],
    ['  *   crm:a/b/c/*  ', detail(['*'], 'crm:a/b/c/*', 'confidential')],
  ])('%s is understood', (text, expected) => {
    expect(parseAllow(text)).toEqual(expected)
  })

  test.each([
    ['', /expected 'VERB/],
    ['read', /expected 'VERB/],
    ['read crm:a public crm:b', /expected 'VERB/],
    ['read crm:a up to', /expected 'VERB/],
    ['read crm:a to public', /expected 'VERB/],
    ['read crm:a up to public please', /expected 'VERB/],
    ['read, crm:a', /list of verbs/],
    ['read,,list crm:a', /list of verbs/],
    ['re* crm:a', /list of verbs/],
    ['read,read crm:a', /twice/],
    ['read customer/9821', /not a resource/],
    ['read crm:*', /not a resource/],
    ['read crm:a/*/b', /not a resource/],
    ['read crm:a secret', /not one of public, internal, confidential, restricted/],
    ['read crm:a up', /not one of/],
  ])("'%s' is not, and says why", (text, problem) => {
    expect(parseAllow(text)).toEqual({ ok: false, problem: expect.stringMatching(problem) })
  })
})
